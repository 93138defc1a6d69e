import re
from pathlib import Path

import pytest

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.openke import read_id_triples, read_ids


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / 'rows.txt'
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_ids_in_order_of_the_id(tmp_path: Path, end: str) -> None:
    rows = ['3', 'b c d 1', 'a\t0', '<uri#x>\t2 ', ' ']
    path = write(tmp_path, end.join(rows) + end)
    assert read_ids(path) == ['a', 'b c d', '<uri#x>']


@pytest.mark.parametrize(
    ('content', 'line', 'message'),
    [
        ('', 1, 'number of rows'),
        ('a 0\n', 1, 'number of rows'),
        ('2\na 0\n\n', 1, 'announces 2 rows, but 1 follow'),
        ('1\na 0\nb 1\n', 1, 'announces 1 rows, but 2 follow'),
        ('2\na 0\nb\n', 3, 'expected a name and an id'),
        ('2\na 0\nb x\n', 3, "must be an integer, got 'x'"),
        ('2\na 0\nb -1\n', 3, "must be an integer, got '-1'"),
        ('2\na 0\nb 2\n', 3, r'id 2 is outside 0\.\.1'),
        ('2\na 0\nb 0\n', 3, 'id 0 comes a second time'),
        ('2\na 0\na 1\n', 3, "name 'a' comes a second time"),
        (b'2\na 0\n\xff 1\n', 3, 'not UTF-8'),
    ],
)
def test_bad_ids(
    tmp_path: Path, content: str | bytes, line: int, message: str
) -> None:
    path = write(tmp_path, content)
    where = re.escape(f'{path}:{line}: ')
    with pytest.raises(DatasetError, match=where + '.*' + message):
        read_ids(path)


def test_id_triples_are_head_tail_relation(tmp_path: Path) -> None:
    path = write(tmp_path, '2\n0 1 2\n4\t3 0\n')
    part = read_id_triples(path, 5, 3)
    assert part.edge_index.tolist() == [[0, 4], [1, 3]]
    assert part.edge_type.tolist() == [2, 0]
    assert part.edge_index.is_contiguous()


def test_no_triples(tmp_path: Path) -> None:
    part = read_id_triples(write(tmp_path, '0\n'), 5, 3)
    assert part.edge_index.shape == (2, 0)
    assert part.edge_type.shape == (0,)


@pytest.mark.parametrize(
    ('content', 'line', 'message'),
    [
        ('3\n0 1 0\n', 1, 'announces 3 rows, but 1 follow'),
        ('1\n0 1\n', 2, 'expected 3 columns .*, got 2'),
        ('1\n0 1 0 0\n', 2, 'expected 3 columns .*, got 4'),
        ('2\n0 1 0\n0 b 0\n', 3, "tail id must be an integer, got 'b'"),
        ('1\n5 0 0\n', 2, r'head id 5 is outside 0\.\.4'),
        ('1\n0 5 0\n', 2, r'tail id 5 is outside 0\.\.4'),
        ('1\n0 0 3\n', 2, r'relation id 3 is outside 0\.\.2'),
        ('1\n0 0 1.0\n', 2, 'relation id must be an integer'),
        ('1\n0 0 ²\n', 2, 'relation id must be an integer'),
    ],
)
def test_bad_id_triples(
    tmp_path: Path, content: str, line: int, message: str
) -> None:
    path = write(tmp_path, content)
    where = re.escape(f'{path}:{line}: ')
    with pytest.raises(DatasetError, match=where + '.*' + message):
        read_id_triples(path, 5, 3)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'rows\.txt.* is missing'):
        read_ids(tmp_path / 'rows.txt')
