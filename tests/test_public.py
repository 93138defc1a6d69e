"""The public names are those of a committed list, and have docstrings.

After a change of the public names: ``python tests/test_public.py``
"""

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import dsom_pyg

LIST = Path(__file__).with_name('public_names.txt')


def modules() -> Iterator[ModuleType]:
    """Every module that says what is public in it."""
    yield dsom_pyg
    for found in pkgutil.walk_packages(dsom_pyg.__path__, 'dsom_pyg.'):
        if not found.name.endswith('.__main__'):  # a command, to be run
            yield import_module(found.name)


PUBLIC = [module for module in modules() if hasattr(module, '__all__')]


def public_names() -> list[str]:
    return sorted(
        f'{module.__name__}.{name}'
        for module in PUBLIC
        for name in module.__all__
    )


def is_documented(name: str, thing: object) -> bool:
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return True  # a constant or an alias of types cannot hold one
    # A docstring that lists the fields comes from `dataclass` or `NamedTuple`.
    doc = thing.__doc__ or ''
    return bool(doc) and not doc.startswith(f'{name}(')


def test_public_names_are_those_of_the_list() -> None:
    listed = LIST.read_text(encoding='utf-8').splitlines()
    names = public_names()
    assert len(set(names)) == len(names), 'a name stands twice in __all__'
    gone, new = set(listed) - set(names), set(names) - set(listed)
    advice = 'if that is meant, run `python tests/test_public.py`'
    assert not gone, f'no longer public: {sorted(gone)}; {advice}'
    assert not new, f'newly public: {sorted(new)}; {advice}'
    assert listed == names  # sorted


def test_what_people_are_shown_is_public() -> None:
    root, shown = LIST.parents[1], []
    for path in (root / 'README.md', root / 'CONTRIBUTING.md'):
        shown += re.findall(r'```python\n(.*?)```', path.read_text(), re.S)
    shown += [path.read_text() for path in root.glob('examples/**/*.py')]
    names = {
        f'{node.module}.{alias.name}'
        for text in shown
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom)
        and str(node.module).startswith('dsom_pyg')
        for alias in node.names
    }
    assert len(names) > 20
    public = {*public_names(), *(module.__name__ for module in PUBLIC)}
    assert names <= public, names - public


def test_imports_are_silent() -> None:
    names = sorted(module.__name__ for module in PUBLIC)
    code = '; '.join(f'import {name}' for name in names)
    done = subprocess.run(
        [sys.executable, '-W', 'error::FutureWarning', '-c', code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    assert not done.stderr


@pytest.mark.parametrize('module', PUBLIC, ids=lambda m: m.__name__)
def test_public_names_are_there_and_documented(module: ModuleType) -> None:
    assert module.__doc__
    for name in module.__all__:
        thing = getattr(module, name)
        assert is_documented(name, thing), f'{name} has no docstring'


if __name__ == '__main__':
    LIST.write_text(''.join(f'{n}\n' for n in public_names()), 'utf-8')
