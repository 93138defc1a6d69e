"""What the paper reports by dataset: MRR, Hits@1, 3 and 10 in percent; of
Table 3 the mean rank as well.
"""

from collections.abc import Mapping, Sequence

Numbers = Sequence[float]
MKGS = ('DB15K', 'MKG_W', 'MKG_Y')


def _three(*rows: Numbers) -> dict[str, Numbers]:
    return dict(zip(MKGS, rows, strict=True))


# Tables 1 and 2.
MAIN: Mapping[str, Mapping[str, Numbers]] = {
    'TransE': _three(
        (24.86, 12.78, 31.48, 47.07),
        (29.19, 21.06, 33.20, 44.23),
        (30.73, 23.45, 35.18, 43.37),
    ),
    'DistMult': _three(
        (23.03, 14.78, 26.28, 39.59),
        (20.99, 15.93, 22.28, 30.86),
        (25.04, 19.33, 27.80, 35.95),
    ),
    'ComplEx': _three(
        (27.48, 18.37, 31.57, 45.37),
        (24.93, 19.09, 26.69, 36.73),
        (28.71, 22.26, 32.12, 40.93),
    ),
    'RotatE': _three(
        (29.28, 17.87, 36.12, 49.66),
        (33.67, 26.80, 36.68, 46.73),
        (34.95, 29.10, 38.35, 45.30),
    ),
    'TuckER': _three(
        (33.86, 25.33, 37.91, 50.38),
        (30.39, 24.44, 32.91, 41.25),
        (37.05, 34.59, 38.43, 41.45),
    ),
    'GC-OTE': _three(
        (31.85, 22.11, 36.52, 51.18),
        (33.92, 26.55, 35.96, 46.05),
        (32.95, 26.77, 36.44, 44.08),
    ),
    'MoSE-AI': _three(
        (37.64, 28.14, 39.60, 51.63),
        (35.99, 29.33, 38.38, 48.81),
        (34.96, 31.24, 36.26, 41.46),
    ),
    'DSoM': _three(
        (42.68, 34.45, 46.62, 58.12),
        (40.90, 33.56, 43.58, 55.28),
        (40.02, 35.67, 41.70, 47.71),
    ),
    'ConfTeacher': _three(
        (40.87, 32.82, 44.75, 56.16),
        (37.49, 31.50, 39.64, 48.97),
        (37.76, 33.93, 39.82, 44.24),
    ),
    'BestTeacher': _three(
        (41.43, 33.46, 45.40, 56.56),
        (38.27, 32.41, 40.48, 49.61),
        (38.51, 34.89, 40.39, 44.71),
    ),
    'BestStrategy': _three(
        (41.65, 33.60, 45.81, 56.94),
        (39.14, 32.88, 41.55, 51.10),
        (39.34, 35.58, 41.01, 45.74),
    ),
    'MulDE': _three(
        (39.94, 31.74, 43.52, 56.03),
        (38.68, 32.39, 41.11, 50.36),
        (39.62, 35.60, 41.19, 46.68),
    ),
}

# Table 3: mean rank instead of MRR, so MRR is unknown.
NAN = float('nan')
LARGE: Mapping[str, Mapping[str, Numbers]] = {
    'DSoM': {
        'FB15k_237': (NAN, 27.5, 41.1, 56.4, 116),
        'WN18': (NAN, 95.0, 96.2, 97.4, 7),
    },
    'MoSE-AI': {
        'FB15k_237': (NAN, 25.5, 37.6, 51.8, 135),
        'WN18': (NAN, 92.9, 94.6, 96.2, 23),
    },
}

# Table 4, on DB15K.
ABLATION: Mapping[str, Mapping[str, Numbers]] = {
    name: {'DB15K': numbers}
    for name, numbers in {
        'Teacher Avg.': (37.64, 28.14, 39.60, 51.63),
        'w/ ML on val.': (40.62, 32.34, 44.53, 55.29),
        'w/ RC on val.': (41.08, 33.21, 45.01, 56.08),
        'w/ NDKD': (41.91, 33.69, 45.83, 57.56),
        'w/ RC, NEKD': (41.00, 33.07, 44.93, 56.00),
        'w/ RC, NNKD': (42.33, 33.93, 46.39, 58.08),
        'w/ RC, vanilla KD': (42.03, 33.62, 46.07, 57.96),
        'w/ RC, DKD': (42.31, 34.00, 46.16, 58.07),
        'DSoM': (42.68, 34.45, 46.62, 58.12),
    }.items()
}

# Table 6: students of one teacher. That of images is not measured here.
SINGLE: Mapping[str, Mapping[str, Numbers]] = {
    'structure': _three(
        (41.34, 33.46, 45.29, 56.39),
        (36.81, 31.02, 38.79, 47.99),
        (38.33, 34.92, 40.14, 44.24),
    ),
    'text': _three(
        (41.30, 32.87, 45.25, 57.48),
        (39.23, 31.50, 41.94, 54.05),
        (37.29, 32.73, 39.24, 45.16),
    ),
}

# Table 5: entities, and triples of train.
SIZES: Mapping[str, tuple[int, int]] = {
    'DB15K': (12_842, 79_222),
    'MKG_W': (15_000, 34_196),
    'MKG_Y': (15_000, 21_310),
    'FB15k_237': (14_541, 272_115),
    'WN18': (40_943, 141_442),
    'WN9': (6_555, 11_741),
}

# Table 7: MRR, Hits@1 and Hits@10 on WN9.
WN9: Mapping[str, Mapping[str, Numbers]] = {
    'DSoM': {'WN9': (92.13, 90.52, NAN, 95.56)}
}
