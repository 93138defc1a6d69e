"""What the declared experiments hold."""

import json

import pytest

from dsom_pyg import datasets
from experiments import record, table
from experiments.layout import CLAIMS
from experiments.measure import settings


@pytest.mark.parametrize('name', table.names())
def test_every_experiment(name: str) -> None:
    for each in table.load(name):
        assert each.rows
        for dataset in each.datasets:
            assert hasattr(datasets, dataset)
        slugs = [record.slug(row.name) for row in each.rows]
        assert len(set(slugs)) == len(slugs)
        for row in each.rows:
            words = settings(row)
            assert json.loads(json.dumps(words)) == words
            # No two rows of a table are the same run.
        runs = [
            json.dumps([settings(row), record.describe([row.change])])
            for row in each.rows
        ]
        assert len(set(runs)) == len(runs)


def test_unknown_experiment() -> None:
    with pytest.raises(ValueError, match='there are: combiners, committees'):
        table.load('tabel')


def test_every_claim_can_be_measured() -> None:
    for claim in CLAIMS:
        model = claim.model
        rows = {
            row.name
            for each in table.load(model.table)
            if model.dataset in each.datasets
            for row in each.rows
        }
        assert model.row in rows, claim.text


def test_rows_have_the_names_of_the_files() -> None:
    """A run of a declared table that is there is not measured again."""
    for name in table.names():
        known = {
            (dataset, row.name)
            for each in table.load(name)
            for dataset in each.datasets
            for row in each.rows
        }
        there = {
            (found['dataset'], found['row'])
            for _, found in record.records(record.RESULTS)
            if found['table'] == name
        }
        assert there & known, name
