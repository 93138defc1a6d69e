"""Search settings on the validation split, and keep every trial.

    python -m experiments search FB15k_237 structure --trials 12
    python -m experiments search FB15k_237 texts --trials 12
    python -m experiments search FB15k_237 student --trials 12
    python -m experiments search MKG_Y DistMult --trials 7

Optuna draws the settings (TPE, its seed the number of trials that are there).
Trials are kept in a SQLite file below ``--models`` and told in
``results/searches``; a search goes on from either. No test triple is read. A
search of students uses the teachers of ``experiments/paper/recipes.py``, which
are trained once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution

from dsom_pyg import Recipe, evaluate, train_dsom
from dsom_pyg.models import ComplEx, CrossEntropy
from dsom_pyg.stages import DECAYING_ADAM, Student, Unlabeled
from dsom_pyg.training import Adam, Distill, Loop, Progress, Run
from experiments import entities, record
from experiments.measure import Setting, settings, shared_files, single
from experiments.paper.catalogue import PROFILES
from experiments.paper.comparators import CHOSEN, RANGES, comparator
from experiments.paper.recipes import RECIPES
from experiments.table import Row, SingleModel, Table

# Shares of a training, in percent, before which no trial is given up.
WARM_UP = 50
# Weights of the cross-entropy over relations.
RELATIONS = (0.0, 0.3, 1.0, 3.0)
# How the features of texts enter.
FEATURES = {
    'as they are': entities.texts,
    'unit variance': entities.unit_variance,
    'half whitened': partial(entities.whitened, power=0.5),
    'whitened': entities.whitened,
}
SELECTION = 'highest validation MRR of the search'
# Marks a trial that gave no number, and why.
DIVERGED = 'diverged'


def structure(trial: optuna.Trial, base: Recipe) -> SingleModel:
    r"""Plain ComplEx-N3, which is the structure teacher as well."""
    n3 = trial.suggest_float('n3', 0.01, 0.4, log=True)
    loop = loop_of(trial, DECAYING_ADAM)
    size = trial.suggest_categorical('batch_size', [125, 250, 500])
    loop = replace(loop, batch_size=size, eval_every=loop.epochs // 4)
    relations = trial.suggest_categorical('relations', RELATIONS)
    model = partial(ComplEx, n3=n3, objective=CrossEntropy(relations))
    return SingleModel(channels=base.teachers.channels, model=model, loop=loop)


def texts(trial: optuna.Trial, base: Recipe) -> SingleModel:
    r"""The teacher of texts, and how their features enter it."""
    n3 = trial.suggest_float('n3', 0.001, 0.1, log=True)
    loop = loop_of(trial, base.teachers.loop)
    way = trial.suggest_categorical('features', [*FEATURES])
    wider = trial.suggest_categorical('times as wide', [1, 2])
    return SingleModel(
        channels=wider * base.teachers.channels,
        model=partial(ComplEx, n3=n3),
        loop=replace(loop, eval_every=loop.epochs // 4),
        entities=FEATURES[way],
    )


def loop_of(trial: optuna.Trial, loop: Loop) -> Loop:
    r"""Another number of epochs, another rate."""
    lr = trial.suggest_float('lr', 0.005, 0.05, log=True)
    quarter = trial.suggest_int('quarter of the epochs', 2, 6)
    return replace(loop, epochs=4 * quarter, optimizer=Adam(lr=lr))


def student(trial: optuna.Trial, base: Recipe) -> Recipe:
    r"""What the student learns by."""
    share = trial.suggest_float('unlabeled share', 0.25, 1.0, step=0.25)
    old = base.student
    return replace(
        base,
        student=Student(
            channels=old.channels,
            model=partial(
                ComplEx,
                n3=trial.suggest_float('n3', 0.001, 0.1, log=True),
                objective=CrossEntropy(
                    trial.suggest_categorical('relations', RELATIONS)
                ),
            ),
            loop=loop_of(trial, old.loop),
            distill=Distill(
                tau=trial.suggest_float('tau', 1.0, 4.0, step=0.5),
                gamma=trial.suggest_float('gamma', 1.0, 16.0, log=True),
                scale_tau=trial.suggest_categorical(
                    'tau squared', [True, False]
                ),
            ),
            unlabeled=Unlabeled(share=share),
        ),
    )


def of_authors(name: str, trial: optuna.Trial, base: Recipe) -> SingleModel:
    r"""What is chosen of a comparator."""
    chosen = {
        key: trial.suggest_float(key, *RANGES[key], log=True)
        for key in CHOSEN[name]
    }
    epochs = PROFILES['small'].distances
    what = comparator(name, base.teachers.channels, epochs, **chosen)
    return replace(what, loop=replace(what.loop, eval_every=epochs // 4))


# Where a search begins: what the recipes have.
BEGIN: dict[str, Mapping[str, Any]] = {
    'structure': {
        'n3': 0.05,
        'lr': 0.02,
        'quarter of the epochs': 3,
        'batch_size': 250,
        'relations': 0.0,
    },
    'texts': {
        'n3': 0.01,
        'lr': 0.02,
        'quarter of the epochs': 3,
        'features': 'as they are',
        'times as wide': 1,
    },
    'student': {
        'unlabeled share': 1.0,
        'n3': 0.01,
        'relations': 1.0,
        'lr': 0.02,
        'quarter of the epochs': 3,
        'tau': 2.0,
        'gamma': 4.0,
        'tau squared': True,
    },
}
# GC-OTE begins as OTE.
BEGIN |= {name: x for name, x in CHOSEN.items() if name != 'GC-OTE'}
Suggest = Callable[[optuna.Trial, Recipe], Any]
SPACES: dict[str, Suggest] = {
    'structure': structure,
    'texts': texts,
    'student': student,
    **{name: partial(of_authors, name) for name in CHOSEN if name in BEGIN},
}


class Reports(Progress):
    r"""Tells a trial what validation says, and gives it up if it is poor."""

    def __init__(self, trial: optuna.Trial, epochs: int) -> None:
        self.trial, self.epochs = trial, epochs

    def epoch(self, record: Any) -> None:
        if 'val_mrr' not in record:
            return
        done = round(100 * record['epoch'] / self.epochs)
        self.trial.report(record['val_mrr'], done)
        if done < 100 and self.trial.should_prune():
            raise optuna.TrialPruned


def value_of(setting: Setting, what: Any, trial: optuna.Trial) -> float:
    r"""Validation MRR of what a trial is about."""
    row = Row(f'trial {trial.number}', what)
    graph = setting.graph(row, 0)
    if isinstance(what, SingleModel):
        run = Run(
            graph=graph,
            device=setting.device,
            progress=Reports(trial, what.loop.epochs),
        )
        model, result = single(run, what)
        found = [x['val_mrr'] for x in result.history if 'val_mrr' in x]
        return found[-1]
    # By what is trained: numbers may come again on another machine.
    text = json.dumps(record.describe(what), sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = setting.models / 'searches' / setting.dataset / name
    recipe = replace(what, device=setting.device, progress=False)
    with shared_files(setting, row, graph, recipe.teachers, 0, folder):
        model = train_dsom(graph, recipe, folder).student
    words = {'filter_splits': setting.filter, 'device': setting.device}
    return evaluate(model, graph, split=setting.split, **words).mrr()


def main(words: Sequence[str]) -> None:
    r"""Run the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m experiments search',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('dataset', choices=sorted(RECIPES))
    parser.add_argument('what', choices=sorted(SPACES))
    parser.add_argument(
        '--trials', type=int, default=10, help='how many in all'
    )
    parser.add_argument('--channels', type=int, default=256)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--text-model', help='for SBERT, a name or a folder')
    parser.add_argument('--root', type=Path, default=Path('datasets'))
    parser.add_argument('--results', type=Path, default=record.RESULTS)
    parser.add_argument('--models', type=Path)
    args = parser.parse_args(words)
    base = RECIPES[args.dataset](args.channels)
    setting = Setting(
        name='searches',
        table=Table([args.dataset], (), SELECTION),
        dataset=args.dataset,
        select=True,
        device=args.device,
        root=args.root,
        text_model=args.text_model,
        results=args.results,
        models=args.models or args.results / 'models',
    )
    name = f'{args.what}-{args.channels}'
    folder = setting.models / 'searches' / args.dataset
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f'sqlite:///{folder.resolve() / name}.sqlite',
        study_name=name,
        load_if_exists=True,
        direction='maximize',
        pruner=optuna.pruners.MedianPruner(3, WARM_UP),
    )
    path = args.results / 'searches' / args.dataset / f'{name}.json'

    def objective(trial: optuna.Trial) -> float:
        try:
            return value_of(setting, SPACES[args.what](trial, base), trial)
        except FloatingPointError as error:
            # It would come again: it is no trial to go on with.
            trial.set_user_attr(DIVERGED, str(error))
            raise

    def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        value = f'{trial.value:.4f}' if trial.value else trial.state.name
        print(f'{trial.number}: {value} {trial.params}', flush=True)
        keep()

    def keep() -> None:
        record.write(path, told(setting, args.what, base, study))

    about = about_search(setting, args.what, base)
    if path.exists():
        found = record.read(path, 'trials', 'graph', 'settings')
        _check_same(path, found, about)
        if not study.trials:
            study.add_trials(trials_of(found))
    kept = study.user_attrs.get('about')
    if kept is not None:
        _check_same(folder / f'{name}.sqlite', kept, about)
    study.set_user_attr('about', json.loads(json.dumps(about)))
    resume(study, BEGIN[args.what])
    # A search that goes on must not draw the same again.
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))
    done = optuna.trial.TrialState
    finished = study.get_trials(states=(done.COMPLETE, done.PRUNED))
    finished += [x for x in study.trials if DIVERGED in x.user_attrs]
    more = args.trials - len(finished)
    if more > 0:
        study.optimize(
            objective,
            n_trials=more,
            callbacks=[tell],
            catch=(FloatingPointError,),
        )
    elif not path.exists():
        keep()
    print(path)


def _check_same(
    path: Path, found: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
    # Trials of another graph, encoder or recipe cannot be compared.
    there = {key: found[key] for key in about}
    if far := record.differences(there, about):
        raise record.OtherRunError(
            f'{path} holds a search of something else: {", ".join(far)} '
            'differ. Move it away, or name other folders with --results and '
            '--models.'
        )


def resume(study: optuna.Study, begin: Mapping[str, Any]) -> None:
    r"""Let a search begin with the settings given, or go on with those of
    trials that were interrupted, which have files to go on from.
    """
    if not study.trials:
        study.enqueue_trial(dict(begin))
    state = optuna.trial.TrialState
    settled = study.get_trials(
        states=(state.COMPLETE, state.PRUNED, state.WAITING)
    )
    there = [trial.params for trial in settled]
    there += [trial.system_attrs.get('fixed_params') for trial in settled]
    for trial in study.get_trials(states=(state.RUNNING, state.FAIL)):
        if trial.state == state.RUNNING:
            # Nobody runs it: a search is the work of one process.
            study.tell(trial.number, state=state.FAIL)
        if DIVERGED in trial.user_attrs:
            continue
        if trial.params and trial.params not in there:
            study.enqueue_trial(trial.params)
            there.append(trial.params)


def trials_of(found: Mapping[str, Any]) -> list[optuna.trial.FrozenTrial]:
    r"""The trials that a file tells, for a machine without their database."""
    return [
        optuna.trial.create_trial(
            state=optuna.trial.TrialState[trial['state'].upper()],
            value=trial['value'],
            params=trial['params'],
            distributions={
                name: json_to_distribution(text)
                for name, text in trial['distributions'].items()
            },
            intermediate_values={
                int(at): value for at, value in trial['reported'].items()
            },
        )
        for trial in found['trials']
        if trial['state'] in ('complete', 'pruned')
    ]


def about_search(setting: Setting, what: str, base: Recipe) -> dict[str, Any]:
    r"""What all trials of a search have in common."""
    row = Row('', base)
    graph = setting.graph(row, 0)
    if what in CHOSEN:  # nothing of the recipe is in it
        trial = optuna.trial.FixedTrial(dict(BEGIN[what]))
        row = Row('', SPACES[what](trial, base))
    return {
        'graph': {
            'fingerprint': graph.fingerprint,
            'features': setting.features(row),
        },
        'settings': settings(row),
    }


def told(
    setting: Setting, what: str, base: Recipe, study: optuna.Study
) -> dict[str, Any]:
    r"""A search as its file tells it."""
    about = about_search(setting, what, base)
    return {
        'search': what,
        'dataset': setting.dataset,
        'graph': about['graph'],
        'protocol': {
            'split': setting.split,
            'filter': setting.filter,
            'ties': 'realistic',
            'metric': 'MRR',
        },
        'settings': about['settings'],
        **record.provenance(setting.device),
        'trials': [
            {
                'number': trial.number,
                'state': trial.state.name.lower(),
                'value': trial.value,
                'reported': trial.intermediate_values,
                'params': trial.params,
                'distributions': {
                    name: distribution_to_json(each)
                    for name, each in trial.distributions.items()
                },
                'seconds': _seconds(trial),
            }
            for trial in study.trials
        ],
    }


def _seconds(trial: optuna.trial.FrozenTrial) -> float | None:
    return trial.duration.total_seconds() if trial.duration else None
