"""Figure 4: missing texts, and the size of the student."""

from experiments.paper.catalogue import SHARES, WIDTHS
from experiments.paper.show import Panel, PaperFigure

WHOLE = 'DSoM, library'

TABLE = PaperFigure(
    'Figure 4: missing texts, and D',
    """
Students of the library's recipe. Texts are taken from a share of the entities
that have them; teachers keep their D where that of the student varies.
""",
    ('DB15K',),
    (
        Panel(
            'texts missing, %',
            (
                (0, WHOLE),
                *((x, f'{x} % of texts missing') for x in SHARES),
            ),
        ),
        Panel(
            'D of the student',
            tuple((x, f'D = {x}') for x in WIDTHS),
        ),
        Panel(
            'members of a committee',
            ((1, WHOLE), (2, 'committee of 2'), (4, 'committee of 4')),
        ),
    ),
)
