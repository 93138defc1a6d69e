"""A run in one HTML file, which opens from disk without a network."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from dsom_pyg.choices import choices
from dsom_pyg.completion import Completer, Review
from dsom_pyg.completion.review import FILE
from dsom_pyg.completion.run_folder import METRICS
from dsom_pyg.completion.store import check_apart
from dsom_pyg.files import output
from dsom_pyg.graph import SPLITS
from dsom_pyg.metrics import CATEGORIES, RankingResult
from dsom_pyg.pages.render import plot, render, thumbnail

# Rows of each table, and answers of each kind.
ROWS, ANSWERS, SUSPECTS = 20, 12, 30


def write_report(folder: str | Path, out: str | Path | None = None) -> Path:
    r"""Write the report of a run; into its folder, as ``report.html``, unless
    another place is given.

    Raises:
        ModelFolderError: The folder holds no whole model.
        ValueError: The file is a part of a model.
        ImportError: matplotlib is not installed (extra ``plots``).
    """
    folder = Path(folder).expanduser()
    path = folder / 'report.html' if out is None else Path(out).expanduser()
    check_apart(path)
    page = report(Completer.load(folder), folder)
    with output(path) as temporary:
        temporary.write_text(page, encoding='utf-8')
    return path


def report(model: Completer, folder: Path | None = None) -> str:
    r"""The page. The folder adds learning curves and the review.

    Test is read, as an evaluation reads it; where there is none, validation.
    """
    graph, about = model.graph, model.parts.about
    split = next(
        (name for name in ('test', 'val') if len(graph.triples(name)[1])), None
    )
    ranking = None if split is None else model.evaluate(split=split)
    sections: dict[str, Any] = {
        'title': f'{about.get("dataset", "a graph")}, by dsom_pyg',
        'about': about,
        'graph': _graph(model),
        'findings': about.get('findings', {}),
        'curves': list(_curves(folder)),
        'split': split,
        'metrics': [] if ranking is None else _metrics(model, ranking),
        'calibration': _calibration(model, split),
        'choices': _choices(model),
        'best': [],
        'worst': [],
        'suspects': [],
        'review': _review(folder, model),
        'settings': about.get('run', {}),
        'thumb': lambda at: _thumbnail(model, at),
    }
    if ranking is not None:
        sections['best'], sections['worst'] = _extremes(model, ranking)
    if model.parts.suspicion is not None:
        path = folder and folder / FILE
        heeding = model
        if path and path.exists():
            heeding = model.with_review(path)
        sections['suspects'] = heeding.suspects(SUSPECTS)
    return render('report.html', **sections)


def _graph(model: Completer) -> dict[str, Any]:
    graph, parts = model.graph, model.parts
    train = graph.triples('train')
    count = torch.bincount(train.edge_type, minlength=graph.num_relations)
    category = graph.relation_categories
    most = count.argsort(descending=True, stable=True)[:ROWS].tolist()
    return {
        'entities': graph.num_entities,
        'relations': graph.num_relations,
        'triples': {name: len(graph.triples(name)[1]) for name in SPLITS},
        'texts': sum(map(bool, parts.texts)),
        'images': sum(map(bool, parts.images)),
        'fingerprint': graph.fingerprint,
        'most': [
            (
                model.relations_known.names[at],
                int(count[at]),
                CATEGORIES[int(category[at])],
            )
            for at in most
        ],
    }


def _curves(folder: Path | None) -> Iterator[tuple[str, Any]]:
    path = folder and folder / METRICS
    if path is None or not path.is_file():
        return
    stages: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            record = json.loads(line)
            stages.setdefault(str(record['stage']), []).append(record)
        except (ValueError, KeyError, TypeError):  # cut off
            continue
    for stage, records in stages.items():
        for key, what in (('loss', 'loss'), ('val_mrr', 'validation MRR')):
            points = [(r['epoch'], r[key]) for r in records if key in r]
            if len(points) > 1:
                yield f'{stage}: {what}', plot({what: points}, 'epoch', what)


def _metrics(
    model: Completer, ranking: RankingResult
) -> list[tuple[str, list[tuple[str, dict[str, float]]]]]:
    names = model.relations_known.names
    relations = sorted(
        ranking.by_relation().items(), key=lambda each: -len(each[1])
    )
    return [
        ('all', [('both sides', ranking.metrics())]),
        (
            'side that is asked for',
            [(k, v.metrics()) for k, v in ranking.by_side().items()],
        ),
        (
            'category of the relation',
            [(k, v.metrics()) for k, v in ranking.by_category().items()],
        ),
        (
            'relation',
            [(names[at], v.metrics()) for at, v in relations[:ROWS]],
        ),
    ]


def _calibration(model: Completer, split: str | None) -> Any:
    if split is None:
        return None
    parts = model.parts
    found = parts.calibration.confidences(
        parts.student,
        model.graph,
        split,
        ranges=model.knowledge.ranges,
        never=model.knowledge.rejected,
    )
    share, confidence, accuracy = found.bins()
    some = share > 0
    points = list(
        zip(confidence[some].tolist(), accuracy[some].tolist(), strict=True)
    )
    return {
        'error': found.error(),
        'plot': plot(
            {'answers': points},
            'probability of the best answer',
            'how often it is right',
            diagonal=True,
        ),
    }


def _choices(model: Completer) -> Any:
    # The weights that were kept are those of training queries.
    teachers, weights = model.parts.teachers, model.parts.weights
    if teachers is None or weights is None:
        return None
    return choices(
        model.graph,
        teachers,
        weights,
        'train',
        model.relations_known.names,
        entity_names=model.entities.names,
        top=ROWS // 2,
    )


def _extremes(
    model: Completer, ranking: RankingResult
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    # Of the answers that are right, those it was surest of; and the right
    # answers that it held to be least likely.
    size = model.graph.num_relations
    tails = ranking.select(ranking.rel < size)
    rank = tails.ranks()
    worst = rank.argsort(descending=True, stable=True)[:ANSWERS]
    good = (rank == 1).nonzero()[:, 0]
    scored = model.score(_triples(tails, good))
    order = sorted(range(len(good)), key=lambda at: -scored[at].probability)[
        :ANSWERS
    ]
    best = good[torch.tensor(order, dtype=torch.long)]
    return _answers(model, tails, best), _answers(model, tails, worst)


def _triples(
    ranking: RankingResult, at: torch.Tensor
) -> list[tuple[int, int, int]]:
    columns = ranking.head, ranking.rel, ranking.tail
    return list(zip(*(x[at].tolist() for x in columns), strict=True))


def _answers(
    model: Completer, ranking: RankingResult, at: torch.Tensor
) -> list[dict[str, Any]]:
    out = []
    rank = ranking.ranks()[at].tolist()
    triples = _triples(ranking, at)
    for (h, r, t), place, scored in zip(
        triples, rank, model.score(triples), strict=True
    ):
        first: Any = model.answer(h, r, k=1, among='all')
        out.append(
            {
                'triple': scored,
                'id': (h, t),
                'rank': place,
                'instead': first[0].name if first and place > 1 else '',
            }
        )
    return out


def _review(folder: Path | None, model: Completer) -> list[Any]:
    if folder is None:
        return []
    names = model.entities, model.relations_known
    return list(Review(folder / FILE).holding(*names).values())


def _thumbnail(model: Completer, entity: int) -> str | None:
    images = model.parts.images
    return thumbnail(images[entity]) if images and images[entity] else None
