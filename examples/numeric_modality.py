"""A further modality: numbers, as a teacher beside images and texts.

    python examples/numeric_modality.py                       # Countries
    python examples/numeric_modality.py --dataset DB15K --numbers FILE

A modality is a node type with features and an edge type to the entities:
nothing in the library has to know of it. FILE has rows of entity, attribute
and value, separated by tabs, such as the numeric triples of MMKB. For
Countries, places and sizes are taken from its texts.
"""

import argparse
import math
import re
from collections import defaultdict
from pathlib import Path
from urllib.parse import unquote

import torch
from torch import Tensor

from dsom_pyg import datasets, nn, training
from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import modalities, pool_features

Row = tuple[str, str, float]


def numbers_of_countries(dataset: datasets.MultimodalDataset) -> list[Row]:
    """Latitude, longitude and size classes, from the bundled texts."""
    rows = []
    for name, texts in zip(
        dataset.entity_names, dataset.entity_texts, strict=True
    ):
        for sign, lat in re.findall(r'\blat([ns])(\d+)', ' '.join(texts)):
            rows.append((name, 'lat', float(lat) * (1 if sign == 'n' else -1)))
        for sign, lon in re.findall(r'\blon([ew])(\d+)', ' '.join(texts)):
            rows.append((name, 'lon', float(lon) * (1 if sign == 'e' else -1)))
        for size in re.findall(r'\binhabitants(\d+)', ' '.join(texts)):
            rows.append((name, 'inhabitants', float(size)))
    return rows


def numbers_of_file(path: Path) -> list[Row]:
    """Rows of a file; what is no number is passed over."""
    rows = []
    for line in path.read_text(encoding='utf-8-sig').splitlines():
        cells = line.split('\t')
        value = cells[2].partition('^^')[0].strip('"') if cells[2:] else ''
        try:
            row = (cells[0], cells[1], float(value))
        except (IndexError, ValueError):
            continue
        if math.isfinite(row[2]):
            rows.append(row)
    return rows


def readable(name: str) -> str:
    """The title in a DBpedia address; any other name stays as it is."""
    title = name.strip('<>').rsplit('/resource/', 1)
    return unquote(title[1]).replace('_', ' ') if title[1:] else name


def numeric_features(
    rows: list[Row], ids: dict[str, int], bumps: int = 16
) -> tuple[Tensor, Tensor]:
    """Features ``[n, d]`` of the entities ``[n]`` that have numbers.

    A value becomes its quantile, seen through bumps along [0, 1]: close
    values have close features, and units do not matter.
    """
    table: dict[str, dict[int, float]] = defaultdict(dict)
    for name, attribute, value in rows:
        if readable(name) in ids:
            table[attribute][ids[readable(name)]] = value
    if not table:
        raise SystemExit('no row names an entity of the graph')
    entity = torch.tensor(sorted({i for part in table.values() for i in part}))
    centres = torch.linspace(0, 1, bumps)
    columns = []
    for part in table.values():
        values = torch.tensor(list(part.values()))
        quantile = torch.searchsorted(values.sort().values, values, right=True)
        distance = (quantile / len(values))[:, None] - centres
        block = torch.zeros(len(ids), bumps)
        block[list(part)] = torch.exp(-0.5 * (distance * bumps / 2) ** 2)
        columns.append(block[entity])
    x = torch.cat(columns, dim=1)
    return x / x.norm(dim=1, keepdim=True), entity


def main() -> None:
    """Train teachers and a student with numbers and without."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--dataset', default='Countries')
    parser.add_argument('--root', type=Path)
    parser.add_argument('--numbers', type=Path)
    parser.add_argument('--epochs', type=int, default=15)
    parser.add_argument('--channels', type=int, default=64)
    args = parser.parse_args()
    root = args.root
    if root is None and args.dataset != 'Countries':
        root = Path('datasets') / args.dataset
    dataset = getattr(datasets, args.dataset)(root)
    if args.numbers:
        rows = numbers_of_file(args.numbers)
    else:
        rows = numbers_of_countries(dataset)
    ids = {name: i for i, name in enumerate(dataset.entity_names)}
    data, sizes = dataset[0], (dataset.num_entities, dataset.num_relations)
    for numeric in (False, True):
        if numeric:  # the whole of the new modality
            data['number'].x, entity = numeric_features(rows, ids)
            edge_index = torch.stack([torch.arange(len(entity)), entity])
            data['number', 'measures', 'entity'].edge_index = edge_index
        torch.manual_seed(0)
        features = {m: pool_features(data, m) for m in modalities(data)}
        teachers = nn.TeacherEnsemble.from_features(
            features, *sizes, args.channels
        )
        config = training.FitConfig(epochs=args.epochs, batch_size=100)
        names = teachers.modalities
        n3 = {m: 0.15 if m == 'structure' else 0.01 for m in names}
        training.fit(training.TeachersTask(teachers, n3), data, config)
        mean = nn.MeanCombiner(mask_missing=True)
        student = nn.ComplEx(
            nn.EntityEmbedding(sizes[0], args.channels), sizes[1]
        )
        objective = training.DistillConfig(n3=0.15, gamma=6)
        task = training.DistillTask(student, teachers, mean, objective)
        training.fit(task, data, config)
        print(f'teachers: {", ".join(names)}; validation')
        scorers = {m: teachers[m] for m in names}
        scorers['their mean'] = nn.CombinedTeachers(teachers, mean)
        for name, scorer in {**scorers, 'student': student}.items():
            print(f'  {name:12s} {evaluate(scorer, data, split="val")}')


if __name__ == '__main__':
    main()
