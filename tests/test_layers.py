"""Who may import whom: only rooms of the own floor or below."""

import ast
from pathlib import Path

import dsom_pyg

FLOORS = {
    'atomic': 0,
    'graph': 0,
    'losses': 0,
    'metrics': 0,
    'precision': 0,
    'query_index': 0,
    'encoders': 1,
    'nn': 1,
    'evaluation': 1,
    'datasets': 2,
    'training': 3,
    'plots': 4,
}
STRANGERS = {('datasets', 'nn'), ('nn', 'datasets'), ('nn', 'encoders')}
ROOT = Path(dsom_pyg.__file__).parent


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix('.py')


def imports(path: Path) -> set[str]:
    out = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [
                f'{node.module}.{alias.name}' for alias in node.names
            ]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split('.')
            if parts[0] == 'dsom_pyg' and len(parts) > 1:
                out.add(parts[1])
    return out & FLOORS.keys()


def test_imports_go_down_only() -> None:
    files = [p for p in ROOT.rglob('*.py') if p.name != '__init__.py']
    files += [p for p in ROOT.rglob('__init__.py') if p.parent != ROOT]
    assert len(files) > 20
    for path in files:
        mine = room(path)
        assert mine in FLOORS, f'{path}: give the new room a floor'
        for other in imports(path):
            assert FLOORS[other] <= FLOORS[mine], f'{path} imports {other}'
            assert (mine, other) not in STRANGERS, f'{path} imports {other}'


def test_files_stay_small() -> None:
    for path in ROOT.rglob('*.py'):
        assert len(path.read_text().splitlines()) <= 400, path
