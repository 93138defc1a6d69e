"""What the declared experiments hold."""

import json
from typing import Any

import pytest

from dsom_pyg import datasets
from experiments import record, table
from experiments.layout import CLAIMS
from experiments.measure import settings
from experiments.paper import show
from experiments.paper.catalogue import PROFILES
from experiments.paper.catalogue import rows as rows_of
from experiments.paper.recipes import RECIPES


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
            json.dumps(
                [
                    settings(row),
                    record.describe([row.change, row.encoder]),
                    row.more_texts,
                ]
            )
            for row in each.rows
        ]
        assert len(set(runs)) == len(runs)


def test_unknown_experiment() -> None:
    with pytest.raises(ValueError, match='there are: bound, combiners, comm'):
        table.load('tabel')


def test_every_claim_can_be_measured() -> None:
    for claim in CLAIMS:
        model = claim.model
        if model.by is not None:
            shown = show.table_of(model.by)
            assert isinstance(shown, show.PaperTable)
            assert model.dataset in shown.datasets
            lines = {line.row for line in shown.lines}
            assert model.row in lines, claim.text
            profile = PROFILES[model.table]
            assert model.row in rows_of(profile, model.dataset)
            continue
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


def test_declared_settings_are_those_of_the_files() -> None:
    """So that the command beside a claim measures what is claimed."""
    compared = 0
    for name in table.names():
        for each in table.load(name):
            rows = {row.name: row for row in each.rows}
            for path, found in record.records(record.RESULTS):
                old = found['settings'].get('recipe')
                if (
                    found['table'] != name
                    or found['row'] not in rows
                    or found['dataset'] not in each.datasets
                    or 'converted_from' not in found
                    or not old
                ):
                    continue
                row = rows[found['row']]
                objective = found['settings']['distill_as_in_the_paper']
                told = in_new_words(old, objective, found['row'])
                compared += 1
                now = record.flat(settings(row))
                for key, value in told.items():
                    # Some policies hold nothing out; the paper's students
                    # see no unlabeled queries.
                    absent = key.startswith(
                        ('student.unlabeled.', 'policy.evidence.')
                    )
                    if key in now or not absent:
                        assert now[key] == value, (path.name, key)
    assert compared > 150


def test_runs_that_are_there_are_taken() -> None:
    """Nothing is refused for its settings, or measured twice."""
    declared = {
        (name, dataset, row.name): row
        for name in table.names()
        for each in table.load(name)
        for dataset in each.datasets
        for row in each.rows
    } | {
        (profile.name, dataset, name): row
        for profile in PROFILES.values()
        for dataset in RECIPES
        for name, row in rows_of(profile, dataset).items()
    }
    compared = 0
    for path, found in record.records(record.RESULTS):
        which = found['table'], found['dataset'], found['row']
        if 'converted_from' in found or which not in declared:
            continue
        now = record.flat(json.loads(json.dumps(settings(declared[which]))))
        there = record.flat(found['settings'])
        for key in {*now, *there}:
            assert now.get(key) == there.get(key), (path, key)
        compared += 1
    assert compared > 50


def in_new_words(
    old: dict[str, Any], objective: dict[str, Any], row: str
) -> dict[str, Any]:
    # The two rows that follow the paper took its objective, no joint teacher
    # and no unlabeled queries, whatever the file says of the others.
    papers = row in ('mean of structure and text', "the paper's policy")
    distill = objective if papers else old['distill']
    if row.startswith('plain ComplEx-N3'):
        return {
            'channels': old['hidden_channels'],
            'model.n3': old['n3'],
            **loop('loop', old['teachers']),
        }
    width = old['teacher_channels'] or old['hidden_channels']
    teachers = {
        'channels': width,
        'structure.n3': old['n3'],
        'feature.n3': old['feature_n3'],
        'joint': not papers,
        'committee': old.get('committee', 1),
        **loop('loop', old['teachers']),
    }
    if 'teachers' in row.split(',')[0] and 'policy' not in row:
        return teachers
    if row.startswith('committees of four'):
        return teachers
    student = {
        'channels': old['hidden_channels'],
        'model.n3': distill['n3'],
        'start.kind': 'FreshTable',
        'distill.gamma': distill['gamma'],
        'distill.tau': distill['tau'],
        'distill.form': distill['form'],
        'unlabeled.queries': old['unlabeled'],
        'unlabeled.share': distill['unlabeled'],
        **loop('loop', old['student']),
    }
    told = {f'teachers.{key}': value for key, value in teachers.items()}
    told |= {f'student.{key}': value for key, value in student.items()}
    told['policy.evidence.ratio'] = old['ratio']
    if row.startswith(('policy, D', 'committee')) or row == 'policy':
        told['policy.learner.epochs'] = old['policy_epochs']
        told['policy.learner.lr'] = old['policy_lr']
        told['policy.learner.base.epochs'] = old['weight_epochs']
        told['policy.learner.base.lr'] = old['weight_lr']
    return told


def loop(prefix: str, old: dict[str, Any]) -> dict[str, Any]:
    kinds = {'adam': 'Adam', 'adagrad': 'Adagrad'}
    return {
        f'{prefix}.epochs': old['epochs'],
        f'{prefix}.batch_size': old['batch_size'],
        f'{prefix}.cooldown': old['cooldown'],
        f'{prefix}.optimizer.kind': kinds[old['optimizer']],
        f'{prefix}.optimizer.lr': old['lr'],
        f'{prefix}.eval_every': old['eval_every'],
    }
