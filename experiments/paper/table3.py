"""Table 3: FB15K-237 and WN18."""

from experiments.paper.published import LARGE
from experiments.paper.show import Line, PaperTable

TABLE = PaperTable(
    'Table 3: FB15K-237 and WN18',
    """
Structure and texts, no images. 94 % of the test pairs of WN18 occur in train,
reversed.
""",
    ('FB15k_237', 'WN18'),
    (
        Line('plain ComplEx-N3', 'plain ComplEx-N3', 'model', seeds=3),
        Line(
            'ComplEx-N3 that predicts relations too',
            'ComplEx-N3, relations too',
            'model',
        ),
        Line('MoSE-AI', 'MoSE-AI', 'teachers', LARGE['MoSE-AI']),
        Line(
            "**DSoM, the library's recipe**",
            'DSoM, library',
            published=LARGE['DSoM'],
            seeds=3,
        ),
    ),
)
