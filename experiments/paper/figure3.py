"""Figure 3: which teachers the policy chose."""

from experiments.paper.show import PaperChoices

TABLE = PaperChoices(
    'Figure 3: what the policy chose',
    """
Mean weights of the teachers in the library's policy, in percent, over the
distinct test queries, seed 0: over all, for the heads and the relations with
most of them, and for heads with few and many training triples. Published
counts are of the paper's own policy, and are not repeated here.
""",
    ('DB15K', 'MKG_W', 'MKG_Y'),
    'policy of the library',
    ('all', 'side', 'head', 'relation', 'training triples of the head'),
)
