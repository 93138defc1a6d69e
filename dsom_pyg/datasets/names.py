"""What entities are called, and which entity a word in a file means."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from urllib.parse import quote, unquote, unquote_plus

from dsom_pyg.datasets.errors import well_formed

# What tells several files of an entity apart, such as _1 or (2).
COUNT = re.compile(r'_\d{1,2}$| ?\(\d{1,2}\)$')
INSIDE = re.compile(r'<[^<>]+>')
SCHEME = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*://')
# In the names of files, on some systems.
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


class NameIndex:
    r"""Looks up entities by what files call them.

    Exact aliases go before their other :func:`spellings`, and these before
    what a word with escapes such as ``%20`` or ``+`` stands for. Then case
    does not matter, and last not a number at the end, such as ``_1``. Earlier
    aliases go before later ones, and smaller ids before larger ones. Words
    and aliases are compared in Unicode form NFC. A name that several have,
    which :func:`unique_names` has told apart, is nobody's, and not that of
    who is called nearly so.
    """

    def __init__(self, aliases: Sequence[Sequence[str]]) -> None:
        self._aliases = aliases

    def exact(self, *words: str) -> list[int]:
        r"""The entities with one of the words as an alias, best first."""
        return _owners(self._exact, words)

    def owners(self, *words: str, numbered: bool = True) -> list[int]:
        r"""As :meth:`exact`; if there are none, by other spellings.

        Args:
            words: What files call it.
            numbered: A number at the end may be that of a file of several.
        """
        if found := self.exact(*words):
            return found
        spelt, folded = self._shared

        def near(words: Iterable[str]) -> list[int]:
            words = [x for x in words if composed(x) not in spelt]
            return _owners(self._near, words)

        found = (
            near(words)
            or near(map(unquote, words))
            or near(map(unquote_plus, words))
        )
        if not found:
            cases = [composed(word).casefold() for word in words]
            cases = [word for word in cases if word not in folded]
            found = _owners(self._folded, cases)
        if found or not numbered:
            return found
        return near(COUNT.sub('', word) for word in words)

    @cached_property
    def _exact(self) -> dict[str, list[int]]:
        return self._table(lambda alias: [composed(alias)])

    @cached_property
    def _shared(self) -> tuple[set[str], set[str]]:
        # What several are called, as files may spell it, and in any case.
        count: Counter[str] = Counter()
        for aliases in self._aliases:
            ends = [f' ({key})' for key in aliases]
            names = (x.removesuffix(end) for x in aliases for end in ends)
            count.update({*names} - {*aliases})
        shared = (name for name, number in count.items() if number > 1)
        spelt = {x for name in shared for x in spellings(name)}
        return spelt, {x.casefold() for x in spelt}

    @cached_property
    def _folded(self) -> dict[str, list[int]]:
        return self._table(lambda x: [y.casefold() for y in spellings(x)])

    @cached_property
    def _near(self) -> dict[str, list[int]]:
        return self._table(spellings)

    def _table(
        self, words_of: Callable[[str], list[str]]
    ) -> dict[str, list[int]]:
        table: dict[str, list[int]] = {}
        for column in zip_longest(*self._aliases):
            for entity, alias in enumerate(column):
                for word in words_of(alias) if alias is not None else ():
                    owners = table.setdefault(word, [])
                    if entity not in owners[-1:]:
                        owners.append(entity)
        return table


def _owners(table: Mapping[str, list[int]], words: Sequence[str]) -> list[int]:
    found = [table.get(composed(word), []) for word in words]
    return list(dict.fromkeys(entity for owners in found for entity in owners))


def composed(text: str) -> str:
    r"""A text in Unicode form NFC, with lone surrogates replaced: some file
    systems and editors give decomposed letters.
    """
    if text.isascii():
        return text
    return unicodedata.normalize('NFC', well_formed(text))


def spellings(name: str) -> list[str]:
    r"""What a file or folder may call an entity, the name itself first.

    People write underscores for spaces and for what some file systems
    forbid, and ``/m/02mjmr`` is found as ``m.02mjmr`` or ``m_02mjmr``.
    """
    name = composed(name)
    bare = name.strip('/')
    out = [name, bare]
    for mark in ('.', '_'):
        out.append(bare.replace('/', mark))
        out.append(bare.replace('/', mark).replace(' ', '_'))
    allowed = FORBIDDEN.sub('_', bare)
    out += [allowed, allowed.replace(' ', '_')]
    out += [quote(each, safe='') for each in dict.fromkeys((name, bare))]
    return list(dict.fromkeys(out))


def unique_names(names: Sequence[str], keys: Sequence[str]) -> list[str]:
    r"""Append the key, which is unique, to every name that keys share."""
    out = list(names)
    if out == list(keys) or len(set(out)) == len(out):
        return out
    assert len(set(keys)) == len(keys)
    counts = Counter(out)
    # Once is nearly always enough, but a name may look like the outcome.
    while len(counts) < len(out):
        out = [
            f'{name} ({key})' if counts[name] > 1 else name
            for name, key in zip(out, keys, strict=True)
        ]
        counts = Counter(out)
    return out


def readable(label: str) -> str:
    r"""A label as people read it: of an IRI, its last segment; of a name in
    angle brackets, as YAGO has them, what is in them.
    """
    if label[:1] == '<' and INSIDE.fullmatch(label):
        name = readable(label[1:-1])
    elif '://' in label and SCHEME.match(label):
        name = local_name(label.rstrip('/#'))
    else:
        return label
    if '%' in name:
        name = unquote(name)
    return name.replace('_', ' ').strip() or label


def local_name(uri: str) -> str:
    r"""The last segment of a URI."""
    return uri.rsplit('#', 1)[-1].rsplit('/', 1)[-1]
