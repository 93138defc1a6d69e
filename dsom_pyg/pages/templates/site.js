// Completion of names, and keys.
const search = document.querySelector('nav input[name=q]');
const names = document.getElementById('names');
let found = [];
let asked = 0;
search.addEventListener('input', async () => {
  const own = ++asked;
  const hit = found.find((each) => each.name === search.value);
  if (hit) { location.href = '/entity/' + hit.id; return; }
  if (!search.value.trim() || search.value.length > 200) return;
  const reply = await fetch('/api/search?q=' + encodeURIComponent(search.value));
  if (!reply.ok || own !== asked) return;
  found = await reply.json();
  names.replaceChildren(...found.map((each) => {
    const option = document.createElement('option');
    option.value = each.name;
    return option;
  }));
});
const rows = [...document.querySelectorAll('article')];
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches('input, select, textarea')) return;
  const at = rows.indexOf(document.activeElement.closest('article'));
  if (event.key === '/') { event.preventDefault(); search.focus(); }
  if (event.key === 'j') rows[Math.min(at + 1, rows.length - 1)]?.focus();
  if (event.key === 'k') rows[Math.max(at - 1, 0)]?.focus();
  const scope = rows[at] || (rows.length ? null : document);
  scope?.querySelector('button[data-key="' + event.key + '"]')?.click();
});
