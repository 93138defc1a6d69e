"""Who may import whom: only rooms of the own floor or below."""

import ast
from collections.abc import Iterator
from pathlib import Path

import dsom_pyg

FLOORS = {
    'pyg': 0,
    'files': 0,
    'graph': 0,
    'losses': 0,
    'metrics': 0,
    'plots': 0,
    'precision': 0,
    'processes': 0,
    'query_index': 0,
    'scatter': 0,
    'scores': 0,
    'kg': 0,
    'terminal': 0,
    'words': 0,
    'encoders': 1,
    'models': 1,
    'evaluation': 1,
    'teachers': 2,
    'datasets': 2,
    'training': 3,
    'audit': 3,
    'stages': 4,
    'trackers': 4,
    'policies': 5,
    'dsom': 6,
    'recipes': 7,
    'choices': 7,
    'settings': 8,
    'completion': 9,
    'pages': 10,
    'cli': 11,
    '__main__': 12,
}
STRANGERS = {
    ('datasets', 'models'),
    ('datasets', 'teachers'),
    ('models', 'datasets'),
    ('models', 'encoders'),
    ('teachers', 'datasets'),
    ('teachers', 'encoders'),
}
ROOT = Path(dsom_pyg.__file__).parent
# The face of the package stands above all floors.
FILES = sorted(p for p in ROOT.rglob('*.py') if p != ROOT / '__init__.py')


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix('.py')


def modules(path: Path) -> Iterator[list[str]]:
    # What is imported anywhere in the file, inside functions as well.
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: no relative imports'
            for alias in node.names:
                yield [*str(node.module).split('.'), alias.name]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split('.')


def imports(path: Path) -> set[str]:
    out = set()
    for parts in modules(path):
        if parts[0] == 'dsom_pyg' and len(parts) > 1:
            # What is no room comes from the face, such as the version.
            out.add(parts[1])
    return out & FLOORS.keys()


def test_every_room_has_a_floor() -> None:
    assert len(FILES) > 20
    for path in FILES:
        assert room(path) in FLOORS, f'{path}: give the new room a floor'


def test_imports_go_down_only() -> None:
    for path in FILES:
        mine = room(path)
        for other in imports(path):
            assert FLOORS[other] <= FLOORS[mine], f'{path} imports {other}'
            assert (mine, other) not in STRANGERS, f'{path} imports {other}'


def test_rooms_of_a_floor_know_each_other_one_way_only() -> None:
    below: dict[str, set[str]] = {name: set() for name in FLOORS}
    for path in FILES:
        below[room(path)] |= imports(path) - {room(path)}
    left = dict(below)
    while left:
        # Rooms that need nothing of what is left.
        free = [name for name in left if not left[name] & left.keys()]
        assert free, f'a circle among {sorted(left)}'
        for name in free:
            del left[name]


def test_one_file_opens_tensor_files() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        for parts in modules(path)
        if parts[0] == 'safetensors'
    }
    assert found == {'files.py'}


def test_the_name_of_a_class_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name[0] != '_':
                places.setdefault(node.name, []).append(str(path))
    assert len(places) > 200
    assert not {x: found for x, found in places.items() if len(found) > 1}
