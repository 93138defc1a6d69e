"""What is no text: sheets of Excel, and Parquet."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsom_pyg.datasets.errors import DatasetError, needs_extra, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.columns import text_of

SHEET, PARQUET = '.xlsx', '.parquet'
# A line and its cells.
Row = tuple[int, list[str]]


def read_sheet(path: Path, findings: Findings) -> list[Row]:
    r"""The rows of the first sheet of a workbook; formulas count by what they
    gave when it was saved.

    Raises:
        DatasetError: It is no workbook.
        ImportError: openpyxl is not installed.
    """
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise needs_extra(path, 'openpyxl', 'excel') from error
    # What a library raises on damaged bytes depends on how far it reads them.
    try:
        book = load_workbook(path, read_only=True, data_only=True)
        first, *more = book.worksheets
        rows = [
            (number, [text_of(cell) for cell in cells])
            for number, cells in enumerate(
                first.iter_rows(values_only=True), 1
            )
        ]
        book.close()
    except Exception as error:
        raise DatasetError(f"'{path}' is no workbook ({error})") from error
    for sheet in more:
        message = f'not read: the sheet {shorten(sheet.title)}; a workbook '
        message += 'of its own, such as descriptions.xlsx, is'
        findings.add('further sheet', message, path)
    # Columns that were cleared are still there.
    width = max((_filled(cells) for _, cells in rows), default=0)
    return [(number, cells[:width]) for number, cells in rows]


def _filled(cells: list[str]) -> int:
    return max((at for at, cell in enumerate(cells, 1) if cell), default=0)


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    r"""The rows of a table by the names of its columns.

    Raises:
        DatasetError: It is no Parquet.
    """
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except Exception as error:
        raise DatasetError(f"'{path}' is no Parquet ({error})") from error
