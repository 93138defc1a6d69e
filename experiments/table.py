"""What an experiment declares: tables, and their rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pkgutil import iter_modules

from dsom_pyg import KG, Recipe
from dsom_pyg.encoders import Encoder
from dsom_pyg.models import ComplEx, Model
from dsom_pyg.models.entity import EntityModule
from dsom_pyg.policies import PolicyChoice
from dsom_pyg.stages import DECAYING_ADAM, Teachers
from dsom_pyg.teachers.ensemble import ModelFactory
from dsom_pyg.training import Adagrad, Loop
from experiments import studies, tables
from experiments.changes import Change

COMPLEX = partial(ComplEx, n3=0.05)
MIXING = Loop(
    epochs=20, batch_size=256, optimizer=Adagrad(lr=0.1), eval_every=1
)
# From a trained model and the graph to the model of a second training.
Second = Callable[[Model, KG], Model]
# From the graph and D to what the rows of entities are made of.
Entities = Callable[[KG, int], EntityModule]


@dataclass(kw_only=True, frozen=True)
class SingleModel:
    r"""A model that is trained alone, as comparators are.

    Args:
        channels: D.
        model: Makes it from an entity module. (default: ComplEx with N3 0.05)
        loop: How it is trained. (default: like the default teachers)
        entity_scale: Standard deviation of the initial entity rows.
            (default: that of :class:`~dsom_pyg.models.EntityEmbedding`)
        entities: Makes the entity module. (default: a free table)
        second: Makes of the trained model one that is trained once more.
            (default: the first one stays)
        second_loop: How that is trained. (default: as the first one)
        snapshots: How often its rate falls to 0 and begins anew. The mean of
            the scores at the end of each is what is ranked. (default: once)
    """

    channels: int = 256
    model: ModelFactory = COMPLEX
    loop: Loop = DECAYING_ADAM
    entity_scale: float | None = None
    entities: Entities | None = None
    second: Second | None = None
    second_loop: Loop | None = None
    snapshots: int | None = None


@dataclass(frozen=True)
class Combined:
    r"""Teachers and who weighs them, at test time, without a student.

    Args:
        teachers: How they are trained.
        policy: Who weighs them.
    """

    teachers: Teachers
    policy: PolicyChoice


@dataclass(frozen=True)
class Mixed:
    r"""MoSE-MI: teachers, and a network over what they say, which learns from
    validation; a tenth of that chooses its epoch, by filtered ranks.

    The final ReLU of the authors is off: one network in four began with 0 for
    all entities, and stays there.

    Args:
        teachers: How they are trained.
        hidden: See :class:`~dsom_pyg.teachers.MetaLearner`.
        final_relu: Likewise.
        loop: How the network learns.
    """

    teachers: Teachers
    hidden: int = 32
    final_relu: bool = False
    loop: Loop = MIXING

    selection = (
        'epoch of the network by a tenth of validation, filtered by train '
        'and validation'
    )


@dataclass(frozen=True)
class Source:
    r"""Where a row comes from.

    Args:
        work: Who proposed it.
        variant: How ours differs from theirs, or which of theirs it is.
        ties: How their code ranks entities of the same score.
    """

    work: str
    variant: str
    ties: str = ''


@dataclass(frozen=True)
class Row:
    r"""One row of a table: one run for each seed.

    Args:
        name: What it is called, on the page and in the name of its file.
        what: What is trained. A :class:`~dsom_pyg.Recipe` gives the teachers
            as its policy combines them and the student;
            :class:`~dsom_pyg.stages.Teachers` give each single teacher; a
            :class:`SingleModel`, :class:`Combined` or :class:`Mixed` gives
            itself.
        paper: MRR and Hits@1, 3 and 10 as published, by dataset.
        change: What is done to the graph before. (default: nothing)
        only_validation: The row is a trial that chooses a setting: it is
            measured with ``--select`` and never on test.
        more_texts: It looks at the texts that others have published as well.
        keeps_validation: It learns from the validation split in a way of its
            own, so that split stays out of train where others train on it.
        encoder: Makes the encoder of texts. (default: that of the command)
        source: Where it comes from, if not from here.
    """

    name: str
    what: Recipe | Teachers | SingleModel | Combined | Mixed
    paper: Mapping[str, Sequence[float]] = field(default_factory=dict)
    change: Change | None = None
    only_validation: bool = False
    more_texts: bool = False
    keeps_validation: bool = False
    encoder: Callable[[], Encoder] | None = None
    source: Source | None = None


@dataclass(frozen=True)
class Table:
    r"""The rows that are measured on some datasets.

    Args:
        datasets: Names of classes in :mod:`dsom_pyg.datasets`.
        rows: What is measured on each of them.
        selection: How epochs were chosen, in words.
    """

    datasets: Sequence[str]
    rows: Sequence[Row]
    selection: str = 'settings given, last epoch'


def names() -> list[str]:
    r"""All experiments."""
    return sorted(
        module.name
        for package in (tables, studies)
        for module in iter_modules(package.__path__)
    )


def load(name: str) -> Sequence[Table]:
    r"""The tables of an experiment.

    Raises:
        ValueError: There is none of this name; all names are given.
    """
    for package in (tables, studies):
        if name in {module.name for module in iter_modules(package.__path__)}:
            module = import_module(f'{package.__name__}.{name}')
            found: Sequence[Table] = module.TABLES
            return found
    raise ValueError(
        f"no experiment '{name}'; there are: {', '.join(names())}"
    )
