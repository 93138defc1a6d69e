"""Figure 5: gamma, tau, alpha, beta, and the reward over time."""

from experiments.paper.show import Panel, PaperFigure

PAPERS = "DSoM, the paper's policy"


def _panel(name: str, own: float, others: tuple[float, ...]) -> Panel:
    points = [(x, f'{name} = {x:g}') for x in others]
    return Panel(name, tuple(sorted([(own, PAPERS), *points])))


TABLE = PaperFigure(
    'Figure 5: settings of distillation',
    """
Students of the paper's policy over two teachers; seed 0, but three seeds where
gamma is 2 and tau is 4. Each run ends with another policy, and that moves
students as much as the setting does: with gamma 0.5, 1 and 4, tau 2 and 8 and
those of alpha and beta texts keep a part of the weight (teachers by it have
40.4 to 40.6), with gamma 8, tau 1 and in the three seeds none (40.0, as
structure alone). So only runs of one kind can be compared. Of the first kind
gamma 0.5 and beta 0.25 are the lowest, tau 2 and alpha 4 the highest; of the
other gamma 8 is the lowest. The advantage is the paper's delta, its mean over
an epoch: -11, 0 or 11 for each target. The paper shows a reward that rises;
here the advantage falls to 0. Why is unexplained.
""",
    ('DB15K',),
    (
        _panel('gamma', 2, (0.5, 1, 4, 8)),
        _panel('tau', 4, (1, 2, 8)),
        _panel('alpha', 1, (0.25, 4)),
        _panel('beta', 1, (0.25, 4)),
        Panel('epoch', ((0, "the paper's policy, NDKD"),), term='advantage'),
    ),
)
