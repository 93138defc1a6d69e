import bz2
import gzip
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dsom_pyg.datasets import text
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.text import (
    index_names,
    read_labeled_triples,
    read_lines,
)

ENTITIES = {'Norway': 0, 'Sweden': 1, 'Côte d’Ivoire': 2}
RELATIONS = {'borders': 0}


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / 'rows.txt'
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(data)
    return path


def test_labeled_triples(tmp_path: Path) -> None:
    rows = 'Norway\tborders\tSweden\nCôte d’Ivoire\tborders\tNorway\n'
    path = write(tmp_path, rows)
    part = read_labeled_triples(path, ENTITIES, RELATIONS)
    assert part.edge_index.tolist() == [[0, 2], [1, 0]]
    assert part.edge_type.tolist() == [0, 0]


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ('Norwya\tborders\tSweden', "entity 'Norwya'; did you mean 'Norway'"),
        ('Norway\tborders\tsweden', "entity 'sweden'; did you mean 'Sweden'"),
        ('Norway\tborder\tSweden', "relation 'border'; did .* 'borders'"),
        ('qqqqq\tborders\tSweden', "unknown entity 'qqqqq'$"),
        ('Norway\tborders', '3 columns .* got 2'),
        ('Norway borders Sweden', '3 columns .* got 1'),
        ('Norway\tborders\tSweden\tx', '3 columns .* got 4'),
        ('', '3 columns .* got 1'),
        ('Norway\t\tSweden', 'column 2 is empty'),
        ('Norway\tborders\t ', 'column 3 is empty'),
    ],
)
def test_bad_labeled_triples(tmp_path: Path, row: str, message: str) -> None:
    good = 'Norway\tborders\tSweden'
    path = write(tmp_path, f'{good}\n{row}\n{good}\n')
    where = re.escape(f'{path}:2: ')
    with pytest.raises(DatasetError, match=where + '.*' + message):
        read_labeled_triples(path, ENTITIES, RELATIONS)


def test_only_line_ends_end_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeffa\x85b\u2028c\x0cd\r\ne')
    assert read_lines(path) == ['a\x85b\u2028c\x0cd', 'e']


ENDS = ('', '\n', '\r', '\r\n', '\n\n', '\n\r', '\r\r')


@pytest.mark.parametrize('mark', ['', '\ufeff'])
@pytest.mark.parametrize('end', ENDS)
@pytest.mark.parametrize('between', ENDS)
def test_lines_are_those_of_the_whole_text(
    tmp_path: Path, between: str, end: str, mark: str
) -> None:
    text = f'a\x85{between}{between}漢 😀{between}c{end}'
    path = write(tmp_path, mark + text)
    lines = text.split('\n' if '\n' in text else '\r')
    lines = [line.removesuffix('\r') for line in lines]
    lines = lines if lines[-1] else lines[:-1]
    assert read_lines(path) == lines
    path.write_bytes(text.encode('utf-16'))  # which writes a mark
    assert read_lines(path) == lines


@pytest.mark.parametrize('end', ['\n', '\r', '\r\n'])
def test_the_line_of_what_is_no_text(tmp_path: Path, end: str) -> None:
    lines = ['a', 'é', 'b']
    path = write(tmp_path, end.join(lines).encode('latin-1'))
    where = re.escape(f'{path}:2: is not UTF-8 text')
    for read in (read_lines, text.read_text):
        with pytest.raises(DatasetError, match=where):
            read(path)
    path.write_bytes(end.join(['a', '\0', 'b']).encode())
    with pytest.raises(DatasetError, match=f'{re.escape(str(path))}:2: holds'):
        read_lines(path)
    # Bytes of line ends occur within characters of UTF-16.
    raw = end.join(['\u0a0a', '\u0d0d\u0a0d', '\u0a0a']).encode('utf-16')
    path.write_bytes(raw + b'\x00\xdc')
    where = re.escape(f'{path}:3: is not UTF-16 text')
    with pytest.raises(DatasetError, match=where):
        read_lines(path)
    assert read_lines(write(tmp_path, '')) == []
    for encoding in ('utf-32', 'utf-32-be'):
        mark = '' if encoding == 'utf-32' else '\ufeff'
        path.write_bytes((mark + 'Oslo').encode(encoding))
        with pytest.raises(DatasetError, match='is UTF-32 text; convert'):
            read_lines(path)
    path.write_bytes('a\nOs\0lo'.encode('utf-16'))
    with pytest.raises(DatasetError, match=f'{re.escape(str(path))}:2: holds'):
        read_lines(path)


def test_repeated_name(tmp_path: Path) -> None:
    path = tmp_path / 'e.tsv'
    assert index_names(path, ['a', 'b']) == {'a': 0, 'b': 1}
    with pytest.raises(DatasetError, match=r"e\.tsv:3: 'a' .* in line 1"):
        index_names(path, ['a', 'b', 'a'])


@pytest.mark.parametrize(
    ('suffix', 'pack'),
    [
        ('gz', gzip.compress),
        ('bz2', bz2.compress),
        ('xz', lzma.compress),
    ],
)
def test_a_packed_file_may_not_fill_memory(
    suffix: str,
    pack: Callable[[bytes], bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / f'rows.txt.{suffix}'
    path.write_bytes(pack(b'a\n' * 100_000))
    assert len(read_lines(path)) == 100_000
    monkeypatch.setattr(text, 'ALWAYS', 1000)
    with pytest.raises(DatasetError, match='unpacks to more than 100 times'):
        read_lines(path)
    # The first bytes are read all the same, and plain files have no limit.
    assert text.read_bytes(path, 4) == b'a\na\n'
    plain = write(tmp_path, 'a\n' * 2000)
    assert len(read_lines(plain)) == 2000


@pytest.mark.parametrize('suffix', ['.gz', '.bz2', '.xz'])
def test_an_interrupted_download_of_nothing(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f'triples.tsv{suffix}'
    path.write_bytes(b'')
    with pytest.raises(DatasetError, match='cannot be unpacked: it is empty'):
        read_lines(path)
