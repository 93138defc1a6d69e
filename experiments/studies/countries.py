"""Does distillation help on the bundled graph, and what does each modality
bring to the student? Settings are from its validation split, seed 0.
"""

from dataclasses import replace
from functools import partial

from dsom_pyg import Recipe, recipes
from dsom_pyg.models import ComplEx
from dsom_pyg.policies import AsInPaper, MeanOfTeachers
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.training import Distill, Loop
from experiments.changes import after, only, shuffled_images
from experiments.table import Row, SingleModel, Table

LOOP = Loop(epochs=25, batch_size=100, eval_every=5)
PLAIN = partial(ComplEx, n3=0.15)
TWO = Teachers(channels=64, structure=PLAIN, joint=False, loop=LOOP)
STUDENT = Student(
    channels=64,
    model=PLAIN,
    loop=LOOP,
    distill=Distill(gamma=6.0),
    unlabeled=None,
)


# Without features there is one teacher, and nothing to choose.
SMALL = recipes.small()
ALONE = replace(
    SMALL,
    teachers=replace(SMALL.teachers, joint=False),
    policy=MeanOfTeachers(),
)


def two(policy: AsInPaper | MeanOfTeachers) -> Recipe:
    r"""A student of the teachers of single modalities."""
    return Recipe(teachers=TWO, policy=policy, student=STUDENT)


TABLES = (
    Table(
        ('Countries',),
        (
            Row(
                'plain ComplEx-N3',
                SingleModel(channels=64, model=PLAIN, loop=LOOP),
            ),
            Row('single teachers', TWO),
            Row('mean', two(MeanOfTeachers(mask_missing=True))),
            Row("the paper's policy", two(AsInPaper(mask_missing=True))),
            Row('held-out policy', recipes.tiny()),
            Row('small', SMALL),
            Row(
                'small, structure alone',
                ALONE,
                change=partial(only, names=()),
            ),
            *(
                Row(
                    f'small, {name}s alone',
                    SMALL,
                    change=partial(only, names=(name,)),
                )
                for name in ('text', 'image')
            ),
            # As many teachers and tables, and nothing to learn from images.
            Row(
                'small, images of others alone',
                SMALL,
                change=partial(
                    after,
                    changes=(shuffled_images, partial(only, names=('image',))),
                ),
            ),
        ),
        selection='epoch by validation MRR, test read once',
    ),
)
