"""The command ``dsom-pyg train``."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from dsom_pyg import recipes
from dsom_pyg.cli.console import Console, asking
from dsom_pyg.cli.plan import memory, size_of, stages_of
from dsom_pyg.cli.source import dataset_of, device_of, features_of
from dsom_pyg.completion import Completer, Review
from dsom_pyg.completion.making import vocabularies
from dsom_pyg.completion.review import reviewed
from dsom_pyg.dsom import Recipe
from dsom_pyg.graph import SPLITS
from dsom_pyg.kg import KG
from dsom_pyg.settings import RECIPES, read_settings, read_words, with_settings
from dsom_pyg.trackers import tracker

# Findings in the data that are said; an audit tells all.
SHOWN = 5
# What a file of settings says that the command has an option for, which goes
# before.
WORDS = (
    'recipe',
    'device',
    'text_encoder',
    'image_encoder',
    'images',
    'texts',
    'more_texts',
    'columns',
    'literals',
)
FEATURES = 'features.'


def train_run(
    source: str,
    out: Path | None,
    config: Path | None,
    words: Iterable[str],
    recipe: str | None,
    device: str | None,
    text_encoder: str | None,
    image_encoder: str | None,
    features: Iterable[str],
    images: str | None,
    texts: str | None,
    more_texts: bool | None,
    columns: str | None,
    literals: str | None,
    review: Path | None,
    folds: int | None,
    trackers: Iterable[str],
    root: Path,
    as_json: bool,
) -> None:
    r"""Train a model and keep it; see ``dsom-pyg train --help``.

    Raises:
        ValueError: A word is none that is known.
    """
    if review is not None and not review.is_file():
        raise ValueError(f"--review: there is no file '{review}'")
    # Found out now, not after everything was trained.
    telling = [tracker(name) for name in trackers]
    settings = read_settings(config) if config else {}
    settings |= read_words(words)
    given: dict[str, Any] = {
        'recipe': recipe,
        'device': device,
        'text_encoder': text_encoder,
        'image_encoder': image_encoder,
        'images': images,
        'texts': texts,
        'more_texts': more_texts,
        'columns': columns,
        'literals': literals,
    }
    files = {
        name.removeprefix(FEATURES): settings.pop(name)
        for name in list(settings)
        if name.startswith(FEATURES)
    }
    for name in WORDS:
        from_file = settings.pop(name, None)
        kind = bool if name == 'more_texts' else str
        _check_kind(config, name, from_file, kind | None)
        given[name] = from_file if given[name] is None else given[name]
    for name, file in files.items():
        _check_kind(config, FEATURES + name, file, str)
    # Found out now, not after the texts were encoded.
    named = _recipe_of(given['recipe'], source)
    _check_settings([named] if named else recipes.by_size(), settings)
    device = device_of(given['device'] or 'auto')
    dataset = dataset_of(
        source,
        root,
        given['text_encoder'],
        given['image_encoder'],
        files | features_of(features),
        given['images'],
        given['texts'],
        device,
        given['columns'],
        given['literals'],
        given['more_texts'],
    )
    graph = KG(dataset[0])
    chosen = named or recipes.of_size(graph)
    chosen = with_settings(replace(chosen, device=device), settings)
    out = out or Path('runs') / Path(source).resolve().name.lower()
    console = Console(
        out / 'log.txt', as_json, stages_of(chosen, graph, folds)
    )
    for finding in islice(dataset.findings, SHOWN):
        console.say(f'{finding} ({finding.kind})')
    if len(dataset.findings) > SHOWN:
        console.say(
            f'and {len(dataset.findings) - SHOWN} findings more; see '
            'dsom-pyg audit'
        )
    if review is not None:
        names = vocabularies(dataset)
        decided = Review(review)
        said = decided.counts(*names)
        words = ', '.join(
            f'{count} {verdict}' for verdict, count in said.items()
        )
        console.say(f'review: {words}', review=said)
        graph = reviewed(graph, decided.judged(*names))
    _introduce(console, graph, chosen, given['recipe'], folds)
    told = replace(chosen, progress=console)
    model = Completer.train(
        dataset, out, told, review=review, folds=folds, trackers=telling
    )
    if not console.stage:
        console.say(f'this run has ended before; the model is that of {out}')
    _conclude(console, model, out)


def _check_kind(config: Path | None, name: str, value: Any, kind: Any) -> None:
    if not isinstance(value, kind):
        what = 'bool' if isinstance(True, kind) else 'str'
        raise ValueError(
            f'{config or "--set"}: {name} must be a {what}, got {value!r}'
        )


def _check_settings(
    possible: Sequence[Recipe], settings: Mapping[str, Any]
) -> None:
    # Which of these it is, only the graph tells.
    wrong = []
    for recipe in possible:
        try:
            with_settings(recipe, settings)
        except ValueError as error:
            wrong.append(error)
    if len(wrong) == len(possible):
        raise wrong[0]


def _recipe_of(name: str | None, source: str) -> Recipe | None:
    if name is None:
        return None
    if name == 'best':
        return recipes.best(source)
    if name not in RECIPES:
        known = ', '.join(['best', *RECIPES])
        raise ValueError(f'no recipe is called {name!r}; there are {known}')
    made: Recipe = RECIPES[name]()
    return made


def _introduce(
    console: Console,
    graph: KG,
    recipe: Recipe,
    name: str | None,
    folds: int | None,
) -> None:
    console.say(str(graph))
    sizes = {x: graph.triples(x).edge_type.numel() for x in SPLITS}
    words = ', '.join(f'{count:,} {x}' for x, count in sizes.items())
    console.say(f'triples: {words}', triples=sizes)
    t, s = recipe.teachers, recipe.student
    console.say(
        f'recipe: {name or "by the size of the graph"}; teachers of D = '
        f'{t.channels}, {t.loop.epochs} epochs; student of D = {s.channels}, '
        f'{s.loop.epochs} epochs; on {recipe.device}'
    )
    most, words = memory(recipe, graph, folds)
    console.say(
        f'memory: about {size_of(most)} beside Python: {words}',
        bytes=most,
    )
    there = _memory_of_machine()
    if recipe.device == 'cpu' and there is not None and most > there:
        console.say(
            f'warning: this machine has {size_of(there)}; take fewer '
            'channels (--set teachers.channels=... --set '
            'student.channels=...) or smaller batches'
        )


def _memory_of_machine() -> int | None:
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _conclude(console: Console, model: Completer, out: Path) -> None:
    about: dict[str, Any] = model.parts.about
    for split, metrics in about['metrics'].items():
        told = ', '.join(f'{k} {v:.2f}' for k, v in metrics.items())
        console.say(f'{split}: {told}', split=split, metrics=metrics)
    train = model.graph.triples('train')
    head, rel = int(train.edge_index[0, 0]), int(train.edge_type[0])
    names = model.entities.word(head), model.relations_known.word(rel)
    console.say(f'the model is kept; ask it: {asking(out, *names)}')
