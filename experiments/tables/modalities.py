"""What does each modality bring? Students of the mean (Figure 4a: missing)."""

from dataclasses import replace
from functools import partial

from dsom_pyg import Recipe
from dsom_pyg.models import ComplEx
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.training import Distill, Loop
from experiments.changes import missing, only
from experiments.table import Row, SingleModel, Table

BOTH = ('image', 'text')


def rows(
    recipe: Recipe, plain_n3: float, *groups: tuple[str, ...]
) -> list[Row]:
    r"""Structure alone, each teacher, and the mean with each group."""
    loop, channels = recipe.teachers.loop, recipe.teachers.channels
    model = partial(ComplEx, n3=plain_n3)
    plain = SingleModel(channels=channels, model=model, loop=loop)
    return [
        Row('structure only', plain),
        Row('single teachers', recipe.teachers),
        *(
            Row(
                ' + '.join(('structure', *group)),
                recipe,
                change=partial(only, names=group),
            )
            for group in groups
        ),
    ]


def mean(channels: int, loop: Loop, n3: float, gamma: float) -> Recipe:
    r"""Students of the teachers' mean, by the paper's objective."""
    model = partial(ComplEx, n3=n3)
    return Recipe(
        teachers=Teachers(
            channels=channels,
            structure=model,
            feature=partial(ComplEx, n3=0.01),
            joint=False,
            loop=loop,
        ),
        policy=MeanOfTeachers(mask_missing=True),
        student=Student(
            channels=channels,
            model=model,
            loop=loop,
            distill=Distill(gamma=gamma),
            unlabeled=None,
        ),
    )


COUNTRIES = mean(64, Loop(epochs=25, batch_size=100, eval_every=5), 0.15, 6.0)
DB15K = mean(256, Loop(), 0.01, 2.0)
SHORT = mean(256, replace(Loop(), epochs=5), 0.01, 2.0)

TABLES = (
    Table(
        ('Countries',),
        (
            *rows(COUNTRIES, 0.15, ('text',), ('image',), BOTH),
            *(
                Row(
                    f'all, {share} % missing',
                    COUNTRIES,
                    change=partial(missing, share=share / 100),
                )
                for share in (20, 40, 60, 80)
            ),
        ),
        selection='validation MRR',
    ),
    # Settings of DB15K, not tuned for these.
    Table(
        ('MKG_W', 'FB15k_237', 'WN9'),
        rows(DB15K, 0.05, ('text',)),
        selection='last epoch',
    ),
    Table(('WN18',), rows(SHORT, 0.05, ('text',)), selection='last epoch'),
)
