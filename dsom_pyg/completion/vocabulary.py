"""What entities and relations are called."""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import zip_longest

import torch
from torch import Tensor

from dsom_pyg.completion.questions import listed
from dsom_pyg.datasets.errors import shorten
from dsom_pyg.datasets.names import NameIndex, composed

# Among more names than this, only those that begin alike are compared.
COMPARED = 50_000


class UnknownNameError(ValueError):
    r"""Nothing is called so; the message names what is called nearly so."""


class Vocabulary:
    r"""Names of entities or of relations, and their ids.

    Args:
        names: A readable name of each, in the order of the ids.
        keys: How the files of the graph write each. (default: like the names)
        what: What they are, for messages: ``'entity'`` or ``'relation'``.
    """

    def __init__(
        self,
        names: Sequence[str],
        keys: Sequence[str] | None = None,
        what: str = 'entity',
    ) -> None:
        self.names = list(names)
        self.keys = list(names if keys is None else keys)
        self.what = what
        if len(self.keys) != len(self.names):
            raise ValueError(
                f'{len(self.names)} names of {what} and {len(self.keys)} keys '
                'do not go together'
            )

    def __len__(self) -> int:
        return len(self.names)

    def id(self, word: str | int) -> int:
        r"""The id of what is called so: a name, a key, a label, or an id
        itself. Keys go before names, and an exact word before its other
        spellings.

        Raises:
            UnknownNameError: Nothing is called so, or several are, or there
                is no such id.
            TypeError: It is neither a word nor a whole number.
        """
        if isinstance(word, str):
            if word in self._made_up:
                return self._made_up[word]
            found = self._index.owners(word, numbered=False)
            if not found and word != word.strip():  # as files are read
                found = self._index.owners(word.strip(), numbered=False)
            if not found:
                raise UnknownNameError(self._unknown(word))
            meant = self._meant(word, found)
            if len(meant) > 1:
                every = [self.names[at] for at in meant]
                if len({*every}) < len(every):
                    every = [self.labels[at] for at in meant]
                names = ' or '.join(map(shorten, every))
                raise UnknownNameError(
                    f'{self.what} {shorten(word)} may be {names}'
                )
            return meant[0]
        if isinstance(word, bool) or not hasattr(word, '__index__'):
            raise TypeError(
                f'{self.what} must be a name or an id, got {word!r}'
            )
        number = word.__index__()
        if not 0 <= number < len(self):
            raise UnknownNameError(
                f'there is no {self.what} {number}; ids are 0 to '
                f'{len(self) - 1}'
            )
        return number

    def ids(self, words: 'Iterable[str | int] | Tensor') -> Tensor:
        r"""Ids of several, ``[N]``; a single word is a list of one."""
        ids = [self.id(word) for word in listed(words)]
        return torch.tensor(ids, dtype=torch.long)

    def check(self, names: Sequence[str]) -> None:
        r"""Raise :class:`ValueError` unless these are the names, in the order
        of the ids.
        """
        for at, (own, other) in enumerate(zip_longest(self.names, names)):
            if own != other:
                raise ValueError(
                    f'{self.what} {at} is {own!r} in this model and {other!r} '
                    'in the dataset: it is another graph, or its files were '
                    'sorted otherwise'
                )

    def word(self, at: int) -> str:
        r"""What to ask for an id by: its name, if that means nobody else, or
        its label.
        """
        name = self.names[at]
        with suppress(UnknownNameError):
            if self.id(name) == at:
                return name
        return self.labels[at]

    @cached_property
    def labels(self) -> list[str]:
        r"""A word for each that no other has: its key, or key and id where
        several share a key.
        """
        own = dict(enumerate(self.keys))
        own |= {at: label for label, at in self._made_up.items()}
        return [*own.values()]

    @cached_property
    def _made_up(self) -> dict[str, int]:
        # Labels that are no keys.
        count = Counter(self.keys)
        taken = {*self.keys, *self.names}
        out = {}
        for at, key in enumerate(self.keys):
            if count[key] > 1:
                label = f'{key} #{at}'
                while label in taken:
                    label += '#'
                out[label] = at
        return out

    @cached_property
    def _index(self) -> NameIndex:
        return NameIndex(list(zip(self.keys, self.names, strict=True)))

    def _meant(self, word: str, found: list[int]) -> list[int]:
        # Letter by letter first, since NFC may make one of two words.
        if len(found) > 1:
            for form in (str, composed):
                for words in (self.keys, self.names):
                    own = [at for at in found if form(words[at]) == form(word)]
                    if own:
                        return own
        return found

    def _unknown(self, word: str) -> str:
        near = ', '.join(shorten(name) for name in self._near(word))
        return f'unknown {self.what} {shorten(word)}' + (
            f'; did you mean {near}?' if near else ''
        )

    def _near(self, word: str) -> list[str]:
        # Longer names with this word in them, then what is spelt alike.
        known = {n.casefold(): n for n in (*self.keys, *self.names)}
        word = word.casefold()
        longer = [n for n in known if word and word in n]
        longer.sort(key=lambda name: (not name.startswith(word), len(name)))
        rivals = list(known)
        if len(rivals) > COMPARED:
            rivals = [name for name in rivals if name[:2] == word[:2]]
        alike = difflib.get_close_matches(word, rivals, n=3)
        found = dict.fromkeys([*longer[:3], *alike])
        return [known[name] for name in found][:3]
