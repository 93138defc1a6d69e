"""Which policy combines the teachers best?

Two rows learn as in the paper: one teacher a modality, its objective, and
training queries alone. They share the loops of the others.
"""

from dsom_pyg import Recipe
from dsom_pyg.policies import (
    AsInPaper,
    ByRelation,
    FixedWeights,
    HeldOut,
    MeanOfTeachers,
)
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.training import Distill
from experiments.table import Row, Table

TWO = Teachers(joint=False)
PAPERS = Student(distill=Distill(tau=4.0, gamma=2.0), unlabeled=None)
FIXED = HeldOut(learner=FixedWeights())
BY_RELATION = HeldOut(learner=ByRelation())
# Over teachers of structure, texts and both.
OVER_THREE = {
    'single teachers': Teachers(),
    'mean': Recipe(policy=MeanOfTeachers()),
    'fixed weights': Recipe(policy=FIXED),
    'weights by relation': Recipe(policy=BY_RELATION),
    'policy': Recipe(),
}

TABLES = (
    Table(
        ('DB15K', 'MKG_W', 'MKG_Y'),
        (
            # The first of the single teachers is plain ComplEx-N3.
            *(Row(name, what) for name, what in OVER_THREE.items()),
            Row(
                'mean of structure and text',
                Recipe(teachers=TWO, policy=MeanOfTeachers(), student=PAPERS),
            ),
            Row(
                "the paper's policy",
                Recipe(teachers=TWO, policy=AsInPaper(), student=PAPERS),
            ),
        ),
    ),
)
