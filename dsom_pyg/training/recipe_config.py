"""The settings of the recipe."""

from dataclasses import dataclass, field, replace

from dsom_pyg.nn import ComplEx, EntityEmbedding
from dsom_pyg.training.config import FitConfig
from dsom_pyg.training.tasks import DistillConfig

# Seeds of a committee lie this far apart, so that runs whose seeds are near
# each other have no member in common.
MEMBER_SEED = 1000


def _loop() -> FitConfig:
    return FitConfig(batch_size=250, optimizer='adam', lr=0.02, cooldown=1.0)


@dataclass(kw_only=True)
class RecipeConfig:
    r"""How :func:`train_dsom` trains.

    Args:
        hidden_channels: D of the student. (default: :obj:`256`)
        teacher_channels: D of the teachers. (default: that of the student)
        committee: How many teachers of each kind are trained apart; what is
            distilled is the mean of their logits. Each costs as much as the
            first, and so do its folds; the steps of the distillation grow
            wider as well. Their seeds lie 1000 apart. (default: :obj:`1`)
        n3: Weight of the N3 regulariser of the teachers with a free entity
            table, structure and joint. (default: :obj:`0.05`)
        feature_n3: The same of the others. (default: :obj:`0.01`)
        joint: Have a teacher over structure and all features at once beside
            those of the single modalities. (default: :obj:`True`)
        mask_missing: Leave out teachers whose modality the head lacks.
            (default: :obj:`True`)
        folds: Parts of train that weights and policy learn from; see
            :func:`~dsom_pyg.training.cross_fit`. With 1 it is one part of
            size :obj:`ratio`, judged by teachers that saw nearly all of train
            and so are close to the full ones. With more every training triple
            counts, for graphs that have few of them, at the cost of a
            training of all teachers for each. (default: :obj:`1`)
        ratio: Held-out share of train if :obj:`folds` is 1.
            (default: :obj:`0.05`)
        weight_epochs: Passes over the held-out queries for the weights that
            the policy starts from. (default: :obj:`15`)
        weight_lr: Learning rate of these. (default: :obj:`0.05`)
        policy_epochs: Passes of the policy. (default: :obj:`16`)
        policy_lr: Learning rate of the policy. (default: :obj:`2e-3`)
        unlabeled: How many queries without a known answer to draw; 0: none.
            (default: :obj:`250000`)
        teachers: The loop of teachers and folds; folds are trained as long
            as the teachers were. (default: 12 epochs, batches of 250 queries,
            Adam at a rate of 0.02 that falls to 0, from trials on the
            validation splits of DB15K and MKG-W)
        warm_start: The student begins as a trained joint model of its size
            and keeps the features inside until it is done: what is returned
            is the table of its rows, structure-only, see
            :meth:`~dsom_pyg.nn.ScoreFunction.as_table`. If the teachers have
            no joint one of that size, it is trained first. Otherwise the
            student begins as a fresh table. (default: :obj:`False`)
        warm_accumulator: Takes the place of
            :obj:`distill.initial_accumulator` after a warm start, if the
            student's optimiser is Adagrad. (default: :obj:`2e-6`, from trials
            on DB15K)
        student: The loop of the student. A loop that is given here, or for
            the teachers, brings its own optimiser, rate and batches: if it
            names none, Adagrad, 0.1, constant, and 500. (default: 12 epochs
            like those of the default teachers, from trials on the validation
            split of MKG-W; after a warm start Adagrad, 0.1, constant, in
            batches of 500; device, seed, precision and progress bar are those
            of :obj:`teachers`)
        distill: The objective of the student. (default: tau 2, gamma 4)
    """

    hidden_channels: int = 256
    teacher_channels: int | None = None
    committee: int = 1
    n3: float = 0.05
    feature_n3: float = 0.01
    joint: bool = True
    mask_missing: bool = True
    folds: int = 1
    ratio: float = 0.05
    weight_epochs: int = 15
    weight_lr: float = 0.05
    policy_epochs: int = 16
    policy_lr: float = 2e-3
    unlabeled: int = 250_000
    warm_start: bool = False
    warm_accumulator: float = 2e-6
    teachers: FitConfig = field(default_factory=_loop)
    student: FitConfig | None = None
    distill: DistillConfig = field(
        default_factory=lambda: DistillConfig(tau=2.0, gamma=4.0)
    )

    def __post_init__(self) -> None:
        # Found out now, not after the teachers were trained.
        for name in ('committee', 'folds', 'weight_epochs', 'policy_epochs'):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise ValueError(
                    f'{name} must be a positive integer, got {value}'
                )
            setattr(self, name, int(value))
        if self.folds == 1 and not 0 < self.ratio < 1:
            raise ValueError(f'ratio must lie in (0, 1), got {self.ratio}')
        if self.unlabeled != int(self.unlabeled) or self.unlabeled < 0:
            raise ValueError(
                'unlabeled is a number of queries (their share of a batch is '
                f'distill.unlabeled); got {self.unlabeled}'
            )
        self.unlabeled = int(self.unlabeled)
        start = self.distill.initial_accumulator
        if start and self.student_loop().optimizer != 'adagrad':
            raise ValueError(
                'distill.initial_accumulator is that of Adagrad; the loop of '
                'the student has another optimizer: give it '
                "student=FitConfig(optimizer='adagrad', ...)"
            )

    def members(self) -> list['RecipeConfig']:
        r"""The settings of each member of the committee: these ones, but for
        its size and the seed of the teachers' loop; the first has the given
        seed.
        """
        loop = self.teachers
        return [
            replace(
                self,
                committee=1,
                teachers=replace(loop, seed=loop.seed + at * MEMBER_SEED),
            )
            for at in range(self.committee)
        ]

    def student_loop(self) -> FitConfig:
        r"""The loop of the student: the given one, or the default."""
        if self.student is not None:
            return self.student
        loop = FitConfig(lr=0.1) if self.warm_start else _loop()
        given = self.teachers
        return replace(
            loop,
            device=given.device,
            seed=given.seed,
            precision=given.precision,
            progress=given.progress,
        )

    def objective(self, student: ComplEx) -> DistillConfig:
        r"""The objective for a student that :func:`start_student` made."""
        fresh = isinstance(student.entities, EntityEmbedding)
        if fresh or self.student_loop().optimizer != 'adagrad':
            return self.distill
        start = self.warm_accumulator
        return replace(self.distill, initial_accumulator=start)
