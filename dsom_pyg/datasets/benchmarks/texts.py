"""Files of texts that people hold for the entities of a benchmark."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dsom_pyg.datasets.base import RawGraph
from dsom_pyg.datasets.errors import DatasetError, shorten
from dsom_pyg.datasets.names import NameIndex
from dsom_pyg.datasets.own import delimited, objects
from dsom_pyg.datasets.own.columns import TEXT, texts_of
from dsom_pyg.datasets.own.table import Entry, Place
from dsom_pyg.datasets.text import suffix_of
from dsom_pyg.encoders.hub import load_tokenizer

# Published files, by the SHA-1 that git has of them: those of
# https://github.com/zjukg/MyGO at d2f6a7a, tokens/.
PUBLISHED = {
    '3dcf632413600f0a3817f0c4e511c066e265d0f6': 'MKG-W-textual.json of MyGO',
    '8e559841695c6e74791deb98b2b88ffc2bfefbc3': 'MKG-Y-textual.json of MyGO',
    '53c650585aa7030d78b112b083a716752ebffc17': 'DB15K-textual.json of MyGO',
}
# What Beyond-Images (https://github.com/pengyu-zhang/Beyond-Images) calls an
# entity, and what it says of all its images or of one.
CALLED = ('entity_name', 'entity_qid', 'dbpedia_url', 'wikidata_url')
MERGED, ONE = 'merged_descriptions', 'image_description_detail'
# From the key of an entity and its tokens to a text.
Decode = Callable[[str, list[int]], str]


def replace_texts(
    raw: RawGraph, path: Path, tokenizer: str | Path | None
) -> None:
    r"""Give entities the texts of a file; the others keep theirs.

    The file is a table of entity and text, as own graphs have it (``.tsv``,
    ``.csv``, ``.jsonl`` and so on), or a ``.json`` file with an object that
    maps an entity to a text or a list of texts, to the tokens of a text (as
    MyGO has it), or to what is said of its images (as Beyond-Images has it).
    Entities are called by any of their names in files, or all by their ids.

    Args:
        raw: The graph.
        path: The file.
        tokenizer: Of tokens: a folder, or a name on the hub. With
            :obj:`None` they are words such as ``token17``.

    Raises:
        DatasetError: The file cannot be read, or calls no entity by its name.
        OSError: There are tokens, and the tokenizer cannot be loaded.
    """
    entries = list(_read(path, tokenizer, raw))
    names = raw.all_names()
    index, size = NameIndex(names), len(names)
    keys = dict.fromkeys(entry.entity[0] for entry in entries)
    ids = {str(at): at for at in range(size)}
    known = {name for each in names for name in each}
    numbered = keys.keys() <= ids.keys() - known
    said: dict[int, dict[str, None]] = {}
    for entry in entries:
        owners = (
            [ids[entry.entity[0]]] if numbered else index.owners(*entry.entity)
        )
        if owners:
            said.setdefault(owners[0], {})[entry.value] = None
        else:
            message = f'no entity is called {shorten(entry.entity[0])}'
            kind = 'text of an unknown entity'
            raw.findings.add(kind, message, *entry.place)
    if not entries:
        raise DatasetError(f"'{path}' holds no text")
    if not said:
        example = shorten(next(iter(keys), ''))
        raise DatasetError(
            f"'{path}': none of its {len(keys)} entities is one of this "
            f'graph; the first one is called {example}'
        )
    described = raw.described or [False] * size
    for entity, values in said.items():
        raw.entity_texts[entity] = list(values)
        described[entity] = True
    raw.described = described
    source = PUBLISHED.get(_git_hash(path), 'no file that is known')
    message = f'texts of {len(said)} of {size} entities; it is {source}'
    raw.findings.add('texts', message, path)


def _read(
    path: Path, tokenizer: str | Path | None, raw: RawGraph
) -> Iterator[Entry]:
    if suffix_of(path) != '.json':
        kind = objects if suffix_of(path) in objects.SUFFIXES else delimited
        yield from kind.read_entries(path, TEXT, raw.findings)[0]
        return
    place = Place(path)
    decode: Decode | None = None
    items = [item for _, item in objects.read_items(path, TEXT)]
    if not all(
        isinstance(x, dict) and {*x} >= {'entity', 'text'} for x in items
    ):
        # Objects with other words, as of own graphs.
        yield from objects.read_entries(path, TEXT, raw.findings)[0]
        return
    for item in items:
        key: str = str(item['entity'])
        value: Any = item['text']
        if isinstance(value, Mapping):
            yield from _captions(key, value, place)
        elif _are_tokens(value):
            decode = decode or _decoder(path, tokenizer, value)
            yield Entry((key,), decode(key, value), place)
        elif isinstance(value, list) and any(
            isinstance(each, int | float) for each in value
        ):
            why = f'is neither texts nor tokens: {shorten(str(value))}'
            raise DatasetError(f"'{path}': what {shorten(key)} has {why}")
        else:
            try:
                texts = texts_of(value)
            except ValueError as error:
                why = f"'{path}': the text of {shorten(key)} {error}"
                raise DatasetError(why) from None
            yield from (Entry((key,), text, place) for text in texts)


def _are_tokens(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(each) is int for each in value)
    )


def _decoder(
    path: Path, tokenizer: str | Path | None, first: list[int]
) -> Decode:
    if tokenizer is None:
        return lambda _, tokens: ' '.join(f'token{each}' for each in tokens)
    words = load_tokenizer(tokenizer)
    start = words.cls_token_id

    def decode(key: str, tokens: list[int]) -> str:
        strange = [each for each in tokens if not 0 <= each < len(words)]
        if strange:
            raise DatasetError(
                f"'{path}': {shorten(key)} has tokens that are no words of "
                f"'{tokenizer}', such as {strange[0]}"
            )
        return str(words.decode(tokens, skip_special_tokens=True)).strip()

    if start is not None and first[0] != start:
        raise DatasetError(
            f"'{path}' holds tokens that do not begin as texts do for "
            f"'{tokenizer}': {shorten(str(first))}; give the tokenizer that "
            f'made them, or tokenizer=None, which makes a word of each number '
            f'for TfidfText, as for tokens of images'
        )
    return decode


def _captions(
    key: str, item: Mapping[str, Any], place: Place
) -> Iterator[Entry]:
    words = [str(item[word]) for word in CALLED if item.get(word)]
    called = tuple(dict.fromkeys([key, *words]))
    images = item.get('images')
    if not isinstance(images, Mapping):
        why = f'{shorten(key)} has no images that are described'
        raise DatasetError(f"'{place.file}': {why}")
    texts = [images.get(MERGED)]
    if not texts[0]:
        each = (x for x in images.values() if isinstance(x, Mapping))
        texts = [x.get(ONE) for x in each]
    for text in texts:
        if isinstance(text, str) and text.strip():
            yield Entry(called, text.strip(), place)


def _git_hash(path: Path) -> str:
    content = path.read_bytes()
    head = f'blob {len(content)}\0'.encode()
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()
