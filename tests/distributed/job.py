"""What a test runs in one process, or in several by torchrun.

    python job.py FOLDER KIND [STOP]

KIND is mean, warm, wide, near, apart, committee, row by row, sampled, paper,
policy, mixed, mixed-policy or bf16.

With STOP all processes end before that epoch of the student.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dsom_pyg import Recipe, evaluate, predict_tails, train_dsom
from dsom_pyg.datasets.fake import FakeMMKG
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx, TransE
from dsom_pyg.policies import AsInPaper, HeldOut, MeanOfTeachers, PolicyChoice
from dsom_pyg.processes import Shard, count, first, rank, share
from dsom_pyg.stages import FreshTable, Student, Teachers, Unlabeled, WarmStart
from dsom_pyg.training import Adam, Loop, RowwiseAdagrad, Sampled, Task
from dsom_pyg.training.state import TrainState

out, what = Path(sys.argv[1]), sys.argv[2]
stop = int(sys.argv[3]) if len(sys.argv) > 3 else None
torch.set_num_threads(1)
fit = sys.modules['dsom_pyg.training.fit']
train_epoch = fit._train_epoch


def ending(task: Any, *args: Any) -> Any:
    """An epoch, unless it is the one to end before."""
    if (task.name, args[4]) == ('student', stop):
        sys.exit()
    return train_epoch(task, *args)


fit._train_epoch = ending  # type: ignore[attr-defined]
state_dict = TrainState.state_dict


def kept_by_first(self: TrainState) -> dict[str, Any]:
    """The same; no other process holds the rows of all."""
    state = state_dict(self)
    tables = [x for part in state['modules'] for x in part.values()]
    tables += [
        value
        for moments in state['optimizers']
        for one in moments.values()
        for value in one.values()
        if torch.is_tensor(value) and value.dim()
    ]
    whole = [x for x in tables if x.shape[:1] == (61,)]
    assert first() or not whole
    return state


TrainState.state_dict = kept_by_first  # type: ignore[method-assign]
# What is put together of all processes in a step, or to rank what teachers
# say, and how large it is.
joined: list[int] = []
whole, step = Shard.whole, Task.update


def watched(self: Shard, x: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """The same, noted if it happens while this is watched."""
    if watching:
        joined.append(x.numel())
    return whole(self, x, dim)


def update(self: Task, *args: Any) -> Any:
    """A step; those of 'apart' lead the processes apart."""
    watching.append(True)
    terms = step(self, *args)
    watching.clear()
    if what == 'apart' and self.name == 'student':
        student = self.trained[0]
        with torch.no_grad():
            student.relations.add_(1e-4 * rank())  # type: ignore[operator]
        between.append(student.relations.sum().item())  # type: ignore[operator]
    return terms


between: list[float] = []
watching: list[bool] = []
Shard.whole, Task.update = watched, update  # type: ignore[method-assign]
# No multiple of 2 or 4 entities.
data = FakeMMKG(61, num_triples=300, seed=1)[0]
if what == 'wide':  # than rows are, so that they are multiplied first
    torch.manual_seed(0)
    data['text'].x = torch.randn(len(data['text'].x), 70)
graph = KG(data)
adam, by_row = Adam(lr=0.02), RowwiseAdagrad(lr=0.2)
loop = Loop(
    epochs=4,
    batch_size=40,
    optimizer=by_row if what == 'row by row' else adam,
    sampled=Sampled(30) if what == 'sampled' else None,
)
policy: PolicyChoice = MeanOfTeachers()
if what.endswith('policy'):
    policy = HeldOut()
if what == 'paper':
    policy = AsInPaper(mlp_channels=8)
recipe = Recipe(
    # A product is shared by the processes; a distance is whole in each.
    teachers=Teachers(
        channels=8,
        loop=loop,
        one_hop=8 if what == 'near' else None,
        committee=2 if what == 'committee' else 1,
        feature=TransE if what.startswith('mixed') else ComplEx,
    ),
    student=Student(
        channels=8,
        loop=replace(loop, eval_every=1),
        unlabeled=Unlabeled(queries=50),
        start=WarmStart() if what == 'warm' else FreshTable(),
    ),
    policy=policy,
    seed=3,
    # Rounding to bf16 would hide what the processes differ by.
    precision='bf16' if what == 'bf16' else 'fp32',
)
result = train_dsom(graph, recipe, folder=out / 'run')
ranks = evaluate(result.student, graph)
teachers = evaluate(result.ensemble['joint'], graph, max_memory=4000)
# Each process ranks among its own entities, whoever scores.
watching.append(True)
combined = evaluate(result.teachers, graph, max_memory=4000)
watching.clear()
query = torch.arange(5), torch.zeros(5, dtype=torch.long)
best, tails = predict_tails(result.student, *query, k=7)
# More than there are, let alone than any of several processes has.
known = graph.index('train')
_, others = predict_tails(result.student, *query, k=70, exclude=known)
if what == 'apart':
    one, *rest = share((result.student.state_dict(), between))
    for state, steps in rest:
        assert steps[0] != one[1][0]
        for name, value in one[0].items():
            assert torch.equal(state[name], value), name
if first():
    said = {
        'processes': count(),
        'history': {k: r.history for k, r in result.results.items()},
        'ranks': ranks.ranks().tolist(),
        'ranks of the joint teacher': teachers.ranks().tolist(),
        'ranks of the teachers': combined.ranks().tolist(),
        'best': best.tolist(),
        'tails': tails.tolist(),
        'others': others.tolist(),
        'known': known.lookup(*query).row.tolist(),
        'joined': joined,
    }
    (out / 'said.json').write_text(json.dumps(said))
    torch.save(result.student.state_dict(), out / 'student.pt')
