"""Table 4: what each part brings, on DB15K."""

from experiments.paper.published import ABLATION
from experiments.paper.show import Line, PaperTable

NDKD = "the paper's policy, {}"

TABLE = PaperTable(
    'Table 4: ablation',
    """
Two teachers, structure and texts. The first three lines combine teachers at
test time; those that learn from validation have teachers that are not trained
on it, while the others are.
""",
    ('DB15K',),
    (
        Line('Teacher Avg.', 'MoSE-AI', 'teachers', ABLATION['Teacher Avg.']),
        Line(
            'w/ ML on val.', 'MoSE-MI', 'teachers', ABLATION['w/ ML on val.']
        ),
        Line(
            'w/ RC on val.',
            'RC on validation',
            'teachers',
            ABLATION['w/ RC on val.'],
        ),
        Line('w/ NDKD', 'mean of two', published=ABLATION['w/ NDKD']),
        Line(
            'w/ RC, NEKD',
            NDKD.format('NEKD alone'),
            published=ABLATION['w/ RC, NEKD'],
        ),
        Line(
            'w/ RC, NNKD',
            NDKD.format('NNKD alone'),
            published=ABLATION['w/ RC, NNKD'],
        ),
        Line(
            'w/ RC, vanilla KD',
            NDKD.format('vanilla KD'),
            published=ABLATION['w/ RC, vanilla KD'],
        ),
        Line(
            'w/ RC, DKD',
            NDKD.format('DKD'),
            published=ABLATION['w/ RC, DKD'],
        ),
        Line('DSoM', "DSoM, the paper's policy", published=ABLATION['DSoM']),
        Line(
            "**DSoM, the library's recipe**",
            'DSoM, library',
            published=ABLATION['DSoM'],
        ),
    ),
)
