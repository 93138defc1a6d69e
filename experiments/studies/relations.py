"""Does a model of triples gain from predicting relations as well?

Its cross-entropy over entities has one over relations beside it (Chen et al.,
2021), of each weight.
"""

from functools import partial

from dsom_pyg.models import ComplEx, CrossEntropy
from experiments.table import Row, SingleModel, Table


def trial(weight: float) -> Row:
    r"""A row that chooses a setting."""
    objective = CrossEntropy(relations=weight)
    model = partial(ComplEx, n3=0.05, objective=objective)
    return Row(f'weight {weight:g}', SingleModel(model=model), {}, None, True)


WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0)
TABLES = (
    Table(
        ('DB15K', 'MKG_W', 'MKG_Y', 'FB15k_237'),
        tuple(trial(weight) for weight in WEIGHTS),
    ),
)
