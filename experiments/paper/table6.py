"""Table 6: students of a single teacher."""

from experiments.paper.catalogue import MKGS
from experiments.paper.published import SINGLE
from experiments.paper.show import Line, PaperTable

TABLE = PaperTable(
    'Table 6: a single teacher',
    """
Students of one teacher alone. The paper has a third one, of images.
""",
    MKGS,
    (
        Line('plain ComplEx-N3', 'plain ComplEx-N3', 'model', seeds=3),
        Line(
            'structure', 'student of structure', published=SINGLE['structure']
        ),
        Line('texts', 'student of text', published=SINGLE['text']),
    ),
)
