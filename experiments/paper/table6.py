"""Table 6: students of a single teacher."""

from experiments.paper.catalogue import MKGS
from experiments.paper.published import SINGLE
from experiments.paper.show import Line, PaperTable

TABLE = PaperTable(
    'Table 6: a single teacher',
    """
Students of one teacher alone. The paper has a third one, of images. On MKG-W
and MKG-Y our texts are titles. With [longer
ones](notes/2026-11-28-longer-texts.md) the student of all teachers has 0.7
more on MKG-W, so a part of the distance there may be of the texts.
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
