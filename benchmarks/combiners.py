"""Combiners fitted on held-out triples, beside the paper's and the mean.

    python benchmarks/combiners.py --dataset DB15K --text-model MODEL --seeds 3

For every seed: the teachers, the first of which is plain ComplEx-N3, and for
every combiner the teachers at test time and the student that learned from
them. Teachers may be larger or smaller than the student
(``--teacher-channels``), or several of each kind (``--committee``); a plain
ComplEx-N3 of the student's size comes last then.
Combiners are fitted on a part of train that their own teachers never saw
(`dsom_pyg.training.cross_fit`), and then used with the full teachers; with
``--folds`` they are fitted on all of train, part by part. What has no joint
teacher learns with the paper's objective and from training queries alone, but
in the loops of the others; the paper's policy is trained along with its
student, so that both are trained if either row is missing. Students begin as a
fresh table; with ``--warm-students`` those of the fitted combiners begin as a
joint teacher of their size and end as a table
(`dsom_pyg.training.start_student`).

``--select`` reads no test triple: it measures the same on the validation
split (DB15K: its clean one), with the validation triples left out of train.
Without it settings are given, the last epoch is taken, and test is read once,
for the table.

``--choices`` draws what the combiners chose (seed 0), beside the report.
Rows are written as they come, and not measured again; each set of options has
an ``--out`` of its own. Trained teachers lie in ``--models``, one folder for
each dataset and set of options, and are used again.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from candidates import NAMES, SIBLINGS, candidates
from disturb import add_noise, shuffle_texts
from protocol import Report
from torch_geometric.data import HeteroData

from dsom_pyg import datasets, nn
from dsom_pyg.encoders import SBERT
from dsom_pyg.evaluation import Scorer, evaluate
from dsom_pyg.graph import drop_modality, fingerprint, merge_val
from dsom_pyg.plots import choices, entity_types, plot_choices
from dsom_pyg.query_index import Queries, unlabeled_queries
from dsom_pyg.training import (
    DistillConfig,
    DistillTask,
    FitConfig,
    Fold,
    ModelTask,
    RecipeConfig,
    fit,
    fit_folds,
    fit_teachers,
    start_student,
    train_index,
)

# As the paper has it.
PAPER = DistillConfig(tau=4.0, gamma=2.0)
PAPERS = ('no joint teacher, mean', "no joint teacher, the paper's policy")
# The relation that tells the type of an entity, where there is one. That of
# DB15K does not: by its triples films, writers and towns are an 'Island'.
TYPES = {'MKG_W': 'instance_of'}


class Bench:
    """One dataset, its settings, and the rows so far."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        encoder = SBERT(args.text_model)
        kind = getattr(datasets, args.dataset)
        root = args.root or Path('datasets') / args.dataset
        dataset = kind(root, text_encoder=encoder)
        self.data: HeteroData = dataset[0]
        if args.dataset == 'DB15K' and not args.select:
            # The split is only named here: settings are given.
            self.data = merge_val(self.data)
        if args.missing:
            self.data = drop_modality(self.data, 'text', args.missing)
        if args.shuffled:
            shuffle_texts(self.data)
        if args.noise:
            add_noise(self.data, dataset.num_entities)
        self.split = 'val' if args.select else 'test'
        self.relation_names = dataset.relation_names
        self.types = entity_types(
            self.data,
            dataset.relation_names,
            TYPES.get(args.dataset),
            dataset.entity_names,
        )
        self.sizes = dataset.num_entities, dataset.num_relations
        out = Path(args.out or f'results/combiners/{args.dataset}.json')
        self.filter = ('train', 'val', 'test')[: 2 if args.select else 3]
        protocol = {
            'dataset': args.dataset,
            'fingerprint': fingerprint(self.data),
            'text': encoder.name,
            'text_missing': args.missing,
            'text_shuffled': args.shuffled,
            'noise_teacher': args.noise,
            'measured_on': self.split,
            'filter': list(self.filter),
            'ties': 'realistic',
            'selection': 'settings given, last epoch',
            'recipe': asdict(self.recipe(0)),
            'distill_as_in_the_paper': asdict(PAPER),
        }
        self.report = Report(out, protocol, args.device)

    @property
    def other_teachers(self) -> bool:
        """Whether no teacher is what a plain model of the student's size is:
        they have another size, or are committees.
        """
        other_size = self.args.teacher_channels not in (
            None,
            self.args.channels,
        )
        return other_size or self.args.committee > 1

    def recipe(self, seed: int) -> RecipeConfig:
        """The library's recipe, with its own optimiser and rates."""
        args = self.args
        same = {'seed': seed, 'device': args.device}
        given = RecipeConfig(warm_start=args.warm_students)
        loop = given.student_loop()
        return RecipeConfig(
            hidden_channels=args.channels,
            teacher_channels=args.teacher_channels,
            committee=args.committee,
            n3=args.n3,
            feature_n3=args.feature_n3,
            # A mask is for those who lack something.
            mask_missing=args.missing > 0,
            folds=args.folds,
            policy_epochs=args.policy_epochs,
            unlabeled=args.unlabeled,
            warm_start=args.warm_students,
            teachers=replace(given.teachers, epochs=args.epochs, **same),
            student=replace(loop, epochs=args.student_epochs, **same),
            distill=replace(given.distill, n3=args.student_n3),
        )

    def record(
        self, name: str, seed: int, scorer: Scorer, **more: Any
    ) -> None:
        """Rank, add a row, write the report."""
        ranking = evaluate(
            scorer,
            self.data,
            split=self.split,
            filter_splits=self.filter,
            device=self.args.device,
        )
        self.report.add(name, seed, {self.split: ranking.metrics(), **more})
        print(f'seed {seed}  {name:40s} {ranking}', flush=True)

    def unlabeled(self, seed: int) -> Queries:
        """Queries without a known answer."""
        index = train_index(self.data).to(self.args.device)
        return unlabeled_queries(
            index, self.sizes[0], self.args.unlabeled, seed
        )

    def combined(
        self, ensemble: nn.TeacherEnsemble, combiner: nn.Combiner
    ) -> nn.CombinedTeachers:
        """The teachers at test time."""
        index = train_index(self.data)
        return nn.CombinedTeachers(ensemble, combiner.eval(), index)


def plain(bench: Bench, seed: int, ensemble: nn.TeacherEnsemble) -> None:
    """Plain ComplEx-N3 of the student's size, where no teacher is that."""
    name = 'plain ComplEx-N3'
    if not bench.other_teachers or bench.report.done(name, seed):
        return
    recipe = bench.recipe(seed)
    cold = replace(recipe, warm_start=False)
    model, _ = start_student(bench.data, ensemble, cold)
    result = fit(ModelTask(model, recipe.n3), bench.data, recipe.teachers)
    bench.record(name, seed, model, seconds=result.seconds)


def teachers(bench: Bench, seed: int) -> nn.TeacherEnsemble:
    """The teachers on all of train; the first one is plain ComplEx-N3 if it
    has the size of the student and no others like it beside it.
    """
    folder = Path(bench.args.models) / f'teachers-{seed}'
    folder.mkdir(parents=True, exist_ok=True)
    ensemble, results = fit_teachers(bench.data, bench.recipe(seed), folder)
    seconds = sum(result.seconds for result in results)
    for name in ensemble.modalities:
        row = f'teacher: {name}'
        if name == 'structure' and not bench.other_teachers:
            row = 'plain ComplEx-N3 = teacher: structure'
        if not bench.report.done(row, seed):
            bench.record(row, seed, ensemble[name], seconds_of_all=seconds)
    return ensemble


def folds(bench: Bench, seed: int) -> list[Fold]:
    """Teachers that never saw a part of train."""
    recipe = bench.recipe(seed)
    folder = Path(bench.args.models) / f'folds-{seed}'
    return fit_folds(bench.data, recipe, recipe.teachers.epochs, folder)


def distill(
    bench: Bench,
    name: str,
    seed: int,
    task: DistillTask,
    loop: FitConfig,
    **more: Any,
) -> None:
    """Train a student and rank by its table."""
    result = fit(task, bench.data, loop)
    last = {k: v for k, v in result.history[-1].items() if k != 'epoch'}
    bench.record(
        f'{name}: student',
        seed,
        task.student.as_table(),
        seconds=result.seconds,
        last_epoch=last,
        **more,
    )


def run(bench: Bench, seed: int) -> None:
    """Everything for one seed."""
    ensemble = teachers(bench, seed)
    as_in_the_paper(bench, seed, ensemble)
    held = folds(bench, seed)
    recipe = bench.recipe(seed)
    for name, make in candidates(bench.data, held, recipe):
        teachers_due = missing(bench, name, seed, 'teachers')
        student_due = missing(bench, name, seed, 'student')
        sibling = name in SIBLINGS and not bench.args.only
        if bench.args.no_students or sibling:
            student_due = False
        page = bench.args.choices and seed == 0 and wanted(bench, name)
        page = page and not page_path(bench, name).exists()
        if not (teachers_due or student_due or page):
            continue
        combiner = make().to(bench.args.device).eval()
        if teachers_due:
            both = bench.combined(ensemble, combiner)
            bench.record(f'{name}: teachers', seed, both)
        if page:
            explain(bench, name, ensemble, combiner)
        if student_due:
            imitate(bench, name, seed, ensemble, combiner)
    plain(bench, seed, ensemble)


def imitate(
    bench: Bench,
    name: str,
    seed: int,
    ensemble: nn.TeacherEnsemble,
    combiner: nn.Combiner,
) -> None:
    """The student of the teachers as a frozen combiner combines them."""
    recipe = bench.recipe(seed)
    loop = recipe.student_loop()
    pool = bench.unlabeled(seed)
    decided = nn.QueryWeights.of(
        combiner,
        ensemble,
        train_index(bench.data).to(bench.args.device),
        pool,
        precision=loop.resolved_precision(),
    )
    path = Path(bench.args.models) / f'start-{seed}.safetensors'
    student, begun = start_student(bench.data, ensemble, recipe, path)
    objective = recipe.objective(student)
    task = DistillTask(student, ensemble, decided, objective, pool)
    more = {'start_seconds': begun.seconds} if begun else {}
    distill(bench, name, seed, task, loop, **more)


def wanted(bench: Bench, name: str) -> bool:
    """Whether a combiner was asked for."""
    return not bench.args.only or name in bench.args.only


def missing(bench: Bench, name: str, seed: int, kind: str) -> bool:
    """Whether this row is wanted and not there yet."""
    return wanted(bench, name) and not bench.report.done(
        f'{name}: {kind}', seed
    )


def page_path(bench: Bench, name: str) -> Path:
    """Where the page of what a combiner chose goes."""
    stem = f'{bench.report.path.stem}-{name.replace(" ", "-")}'
    return bench.report.path.with_name(f'{stem}.png')


def explain(
    bench: Bench,
    name: str,
    ensemble: nn.TeacherEnsemble,
    combiner: nn.Combiner,
) -> None:
    """A page and tables of what was chosen, beside the report."""
    chosen = choices(
        bench.data,
        ensemble,
        combiner,
        bench.split,
        bench.relation_names,
        bench.types,
    )
    page = page_path(bench, name)
    plot_choices(chosen, page)
    tables = json.dumps(asdict(chosen), indent=1)
    page.with_suffix('.choices.json').write_text(tables + '\n')


def as_in_the_paper(
    bench: Bench, seed: int, ensemble: nn.TeacherEnsemble
) -> None:
    """One teacher a modality; the mean of them, and the paper's policy."""
    recipe = bench.recipe(seed)
    names = [name for name in ensemble.modalities if name != 'joint']
    single = nn.TeacherEnsemble({name: ensemble[name] for name in names})
    makers: tuple[Callable[[], nn.Combiner], ...] = (
        nn.MeanCombiner,
        lambda: nn.ReinforcedCombiner.for_ensemble(single),
    )
    for name, make in zip(PAPERS, makers, strict=True):
        teachers_due = missing(bench, name, seed, 'teachers')
        student_due = missing(bench, name, seed, 'student')
        student_due &= not bench.args.no_students
        # The paper's policy learns along with its student.
        together = not name.endswith('mean')
        if together and bench.args.no_students:
            continue
        torch.manual_seed(seed + 2)
        combiner = make()
        if student_due or (teachers_due and together):
            # As wide as the others. What is warm trains another way.
            cold = replace(recipe, warm_start=False)
            student, _ = start_student(bench.data, single, cold)
            task = DistillTask(student, single, combiner, PAPER)
            warm = recipe.warm_start
            loop = recipe.teachers if warm else recipe.student_loop()
            distill(bench, name, seed, task, loop)
        if teachers_due:
            both = bench.combined(single, combiner)
            bench.record(f'{name}: teachers', seed, both)


def main() -> None:
    """Measure all combiners on a dataset."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--dataset', default='DB15K')
    parser.add_argument('--root', type=Path)
    parser.add_argument('--text-model', required=True)
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--seed', type=int, help='this one alone')
    parser.add_argument('--channels', type=int, default=256)
    parser.add_argument('--teacher-channels', type=int)
    parser.add_argument('--committee', type=int, default=1)
    given = RecipeConfig()
    parser.add_argument('--n3', type=float, default=given.n3)
    parser.add_argument('--feature-n3', type=float, default=given.feature_n3)
    parser.add_argument('--student-n3', type=float, default=0.01)
    parser.add_argument('--epochs', type=int, default=12)
    parser.add_argument('--student-epochs', type=int, default=12)
    parser.add_argument('--policy-epochs', type=int, default=16)
    parser.add_argument('--unlabeled', type=int, default=250_000)
    parser.add_argument('--folds', type=int, default=1)
    parser.add_argument('--select', action='store_true')
    parser.add_argument('--noise', action='store_true')
    parser.add_argument('--shuffled', action='store_true')
    parser.add_argument('--missing', type=float, default=0.0)
    parser.add_argument('--warm-students', action='store_true')
    parser.add_argument('--only', action='append', choices=PAPERS + NAMES)
    parser.add_argument('--no-students', action='store_true')
    parser.add_argument('--choices', action='store_true')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--models', default='results/models')
    parser.add_argument('--out', type=Path)
    bench = Bench(parser.parse_args())
    one, count = bench.args.seed, bench.args.seeds
    for seed in range(count) if one is None else [one]:
        run(bench, seed)


if __name__ == '__main__':
    main()
