"""The command ``dsom-pyg add``."""

from itertools import islice
from pathlib import Path

from dsom_pyg.cli.console import asking
from dsom_pyg.cli.source import encoder_of
from dsom_pyg.completion import Completer, Review
from dsom_pyg.completion.review import FILE
from dsom_pyg.completion.store import MANIFEST
from dsom_pyg.datasets.errors import printable
from dsom_pyg.datasets.features.images import find_images
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import composed
from dsom_pyg.datasets.own.columns import NAME, TEXT
from dsom_pyg.datasets.own.layouts.named_files import (
    read_entries,
    read_triples,
)
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.table import Labels, Table
from dsom_pyg.encoders import Encoder

# Findings in the files that are said.
SHOWN = 5


def add_run(
    model: Path,
    out: Path,
    texts: Path,
    names: Path | None,
    triples: Path | None,
    columns: str | None,
    images: Path | None,
    text_encoder: str | None,
    image_encoder: str | None,
    device: str,
) -> None:
    r"""Add entities to a model; see ``dsom-pyg add --help``.

    Raises:
        ValueError: The folder to be written holds a model.
    """
    if (out / MANIFEST).exists():
        raise ValueError(f'{out} holds a model already; choose another folder')
    found = Findings()
    said: dict[str, list[str]] = {}
    # Who has no text may have triples.
    blank: list[Labels] = []
    entries, named = read_entries(texts, TEXT, found, blank)
    for entry in entries:
        said.setdefault(entry.entity[0], []).append(entry.value)
    for labels in blank:
        said.setdefault(labels[0], [])
    if names is not None:
        named += read_entries(names, NAME, found)[0]
    # The file may be that of the whole graph.
    keys = {composed(key).strip(): key for key in said}
    called = {
        keys[key]: each.value
        for each in named
        if (key := composed(each.entity[0]).strip()) in keys
    }
    table = Table({}, findings=found)
    if triples is not None:
        read_triples(triples, table, 'train', Reading(columns or 'hrt'))
    shown: dict[str, list[Path]] = {}
    if images is not None:
        if not images.is_dir():
            raise ValueError(f"--images: there is no folder '{images}'")
        each, notes = find_images(images, [[name] for name in said])
        found.extend(notes)
        shown = dict(zip(said, each, strict=True))
    for finding in islice(found, SHOWN):
        print(printable(f'{finding} ({finding.kind})'))
    if len(found) > SHOWN:
        print(f'and {len(found) - SHOWN} findings more')
    given = table.triples.get('train', ())
    made = Completer.load(model).add_entities(
        said,
        shown,
        [each[:3] for each in given],
        names=called,
        text_encoder=_encoder('text', text_encoder, device),
        image_encoder=_encoder('image', image_encoder, device),
    )
    made.save(out)
    Review(model / FILE).copy_to(out / FILE)
    ask = out, next(iter(said)), made.relations_known.word(0)
    told = (
        f'{len(said)} entities and {len(given)} triples were added; the model '
        f'is in {out}. Ask it: {asking(*ask)}'
    )
    print(printable(told))


def _encoder(modality: str, word: str | None, device: str) -> Encoder | None:
    if word == 'none':
        # Features of newcomers are what their rows are made of.
        raise ValueError(
            f'--{modality}-encoder none: name the encoder of the training, or '
            'leave it out'
        )
    return None if word is None else encoder_of(modality, word, device)
