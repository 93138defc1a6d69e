// Completion of names, and keys.
const search = document.querySelector('nav input[name=q]');
const names = document.getElementById('names');
let found = [];
let asked = 0;
search.addEventListener('input', async (event) => {
  const own = ++asked;
  // Who types on may want another one, whose name goes on.
  const typed = event.inputType && event.inputType !== 'insertReplacementText';
  const hit = found.find((each) => each.name === search.value);
  if (hit && !typed) { location.href = '/entity/' + hit.id; return; }
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
// After a decision the page comes anew, and goes on where one was: at the next
// triple, which has moved up if the last one has gone.
rows.forEach((row, at) => row.addEventListener('submit', (event) => {
  const stays = event.submitter?.value === 'unsure';
  sessionStorage.setItem('row', location.pathname + ' ' + (at + stays));
}));
const [path, last] = (sessionStorage.getItem('row') || '').split(' ');
sessionStorage.removeItem('row');
if (path === location.pathname) rows[Math.min(last, rows.length - 1)]?.focus();
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
