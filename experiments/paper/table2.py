"""Table 2: who is distilled."""

from experiments.paper.catalogue import MKGS
from experiments.paper.published import MAIN
from experiments.paper.show import Line, PaperTable
from experiments.paper.table1 import DSOM

TABLE = PaperTable(
    'Table 2: teacher selection in distillation',
    """
Students of two teachers, structure and texts, but for the last row: the
library's recipe has a third teacher, unlabeled queries, tau 2 and gamma 4
where the others have 4 and 2. So its distance from the mean of both is not of
selection alone; on DB15K the overview has the mean of its three teachers.
BestTeacher and BestStrategy read the label; MulDE compares teachers with the
student on its 500 best entities. Those that learn from training triples, or
judge by them, see what the teacher of structure has memorised
([why](notes/2026-11-20-paper-policy.md)): but for the library's policy, which
learns from held-out ones, none has a higher MRR than the mean of both on any
graph.
""",
    MKGS,
    (
        Line('plain ComplEx-N3', 'plain ComplEx-N3', 'model', seeds=3),
        Line('mean of both', 'mean of two', seeds=3),
        *(
            Line(name, name, published=MAIN[name], seeds=3)
            for name in ('ConfTeacher', 'BestTeacher', 'BestStrategy', 'MulDE')
        ),
        *DSOM,
    ),
)
