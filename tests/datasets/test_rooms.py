"""Which file of ``datasets/`` may import which."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dsom_pyg.datasets

FLOORS = {
    'errors': 0,
    'findings': 1,
    'names': 1,
    'text': 1,
    'openke': 2,
    'features': 3,
    'base': 4,
    'countries': 5,
    'fake': 5,
    'own': 5,
    'benchmarks': 6,
    '__init__': 7,
}
PACKAGE = 'dsom_pyg.datasets'
ROOT = Path(dsom_pyg.datasets.__file__).parent


def module(path: Path) -> str:
    name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    return name.removesuffix('.__init__')


def imported(source: str) -> set[str]:
    """All that a file imports, as full names."""
    out = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, 'relative imports are not looked at'
            out |= {f'{node.module}.{alias.name}' for alias in node.names}
        elif isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
    return out


MODULES = {module(path): path for path in ROOT.rglob('*.py')}


@cache
def arrows() -> dict[str, set[str]]:
    """From each module of the room to those it imports."""
    out: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        out[name] = set()
        for full in imported(path.read_text()):
            if full != PACKAGE and not full.startswith(f'{PACKAGE}.'):
                continue
            inside = full.removeprefix(PACKAGE).strip('.').split('.')
            found = ['.'.join(inside[:n]) for n in range(len(inside), 0, -1)]
            known = next((each for each in found if each in MODULES), None)
            out[name].add(known or '__init__')
    return out


@pytest.mark.parametrize('name', sorted(MODULES))
def test_imports_go_down(name: str) -> None:
    room = name.split('.')[0]
    for other in arrows()[name]:
        below = other.split('.')[0]
        assert below == room or FLOORS[below] < FLOORS[room], other


def test_no_circle() -> None:
    order = list(TopologicalSorter(arrows()).static_order())
    assert len(order) == len(MODULES) > 25


def test_own_graphs_never_reach_the_benchmarks() -> None:
    graph = arrows()
    todo, seen = [name for name in graph if name.startswith('own')], set()
    while todo:
        name = todo.pop()
        todo += graph[name] - seen
        seen |= graph[name]
    assert 'base' in seen
    assert not any(name.startswith('benchmarks') for name in seen)


def test_nothing_here_knows_the_audit() -> None:
    for path in MODULES.values():
        names = imported(path.read_text())
        assert not any(name.startswith('dsom_pyg.audit') for name in names)
