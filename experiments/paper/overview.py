"""DB15K in one table: combined at test time, and taught."""

from experiments.paper.show import Line, PaperTable

# A combiner of teachers, and who learns from it.
BOTH = (
    ('mean of structure and texts', 'mean of two'),
    ('mean of three teachers', 'mean of three'),
    ('the most confident of two', 'ConfTeacher'),
    ("the paper's policy over two", "DSoM, the paper's policy"),
    ("**the library's policy over three**", 'DSoM, library'),
    ('the same over six of each kind, D = 640', 'committee of six'),
)
# These read the label, or learn along with the student: at test time there is
# nothing to show of them.
TAUGHT = ('BestTeacher', 'BestStrategy', 'MulDE')

TABLE = PaperTable(
    'Overview: DB15K',
    """
Who combines the teachers, at test time and as the teacher of a student of
D = 256; a student of D = 640 learns more from the committee (43.12, see
[README.md](README.md)). Two teachers are structure and texts, the third one is
both at once. BestTeacher and BestStrategy read the label, and MulDE learns
along with a student, so they can only teach; they have two.
""",
    ('DB15K',),
    (
        Line('plain ComplEx-N3', 'plain ComplEx-N3', 'model', seeds=3),
        *(
            Line(f'{label}: {model}', row, model, seeds=3)
            for label, row in BOTH
            for model in ('teachers', 'student')
        ),
        *(Line(f'{row}: student', row, seeds=3) for row in TAUGHT),
    ),
)
