"""Settings of a recipe by name, from a TOML file or from the command line."""

import difflib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from dsom_pyg import (
    losses,
    models,
    policies,
    recipes,
    stages,
    teachers,
    training,
)
from dsom_pyg.dsom import Recipe
from dsom_pyg.teachers import ensemble
from dsom_pyg.words import in_words, tells_all

__all__ = [
    'UnknownSettingError',
    'describe',
    'read_settings',
    'read_words',
    'with_settings',
]

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What a setting may be by name: the parts of a recipe that can be exchanged.
PARTS: dict[str, Any] = {
    part.__name__: part
    for part in (
        policies.AsInPaper,
        policies.BestStrategy,
        policies.BestTeacher,
        policies.Boosting,
        policies.ConfTeacher,
        policies.OneTeacher,
        policies.Senior,
        policies.ByRelation,
        policies.FixedWeights,
        policies.HeldOut,
        policies.MeanOfTeachers,
        policies.RewardedPolicy,
        models.CrossEntropy,
        models.KvsAll,
        models.Margin,
        models.Negatives,
        models.SelfAdversarial,
        stages.FreshTable,
        stages.Unlabeled,
        stages.WarmStart,
        stages.Student,
        stages.Teachers,
        teachers.RankReward,
        training.Distill,
        training.Adagrad,
        training.Adam,
        training.Adam8bit,
        training.KFolds,
        training.Loop,
        training.OneFold,
        training.OnValidation,
        training.RowwiseAdagrad,
        training.Sampled,
    )
}
# Those that are used as they are, and those that wait for their entities.
AS_THEY_ARE: dict[str, Any] = {
    part.__name__: part
    for part in (
        losses.gain_advantage,
        losses.mean_advantage,
        losses.paper_advantage,
        teachers.CompactState,
        teachers.LogitState,
        teachers.grid,
        teachers.subsets,
    )
}
MODELS: dict[str, Any] = {model.__name__: model for model in models.NAMED}
RECIPES = {
    recipe.__name__: recipe
    for recipe in (
        recipes.committee,
        recipes.held_out,
        recipes.paper,
        recipes.small,
        recipes.tiny,
    )
}
# What a table calls the part that its settings are of.
KIND = 'kind'
WORDS = {'true': True, 'false': False}
# Of settings that may be without a value; of others it is a word.
NOTHING = 'none'


class UnknownSettingError(ValueError):
    r"""No setting is called so; the message names the nearest one."""


def read_settings(path: Path) -> dict[str, Any]:
    r"""Settings of a TOML file by dotted name, such as
    ``'student.loop.epochs'``. A table of settings may tell the part that they
    are of: ``policy = {kind = "AsInPaper", lr = 0.01}``.

    Raises:
        ValueError: The file is no TOML.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding='utf-8-sig'))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f'{path} is no TOML: {error}') from error
    return dict(_flat(tables, ''))


def _flat(tables: Mapping[str, Any], above: str) -> Iterable[tuple[str, Any]]:
    # The part itself goes before its settings.
    if above and KIND in tables:
        yield above.removesuffix('.'), tables[KIND]
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{above}{key}.')
        elif key != KIND or not above:
            yield f'{above}{key}', value


def read_words(words: Iterable[str]) -> dict[str, Any]:
    r"""Settings from words such as ``'student.loop.epochs=20'``.

    Raises:
        ValueError: A word has no ``=``.
    """
    out = {}
    for word in words:
        key, sign, value = word.partition('=')
        if not sign:
            raise ValueError(f'{word!r} is no setting; write key=value')
        out[key.strip()] = _value(value.strip())
    return out


def _value(word: str) -> Any:
    if word.lower() in WORDS:
        return WORDS[word.lower()]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    r"""A recipe with other settings, by dotted names. A part that can be
    exchanged is given by the name of its class, such as ``'AsInPaper'``,
    before its own settings.

    Raises:
        UnknownSettingError: There is no such setting or part.
        ValueError: A value is of another kind than the setting. Whether it
            makes sense is for the training to say, before it begins.
    """
    for key, value in settings.items():
        recipe = _with(recipe, key.split('.'), value, key)
    return recipe


def describe(recipe: Recipe) -> dict[str, Any]:
    r"""All settings of a recipe by dotted name, as :func:`with_settings` takes
    them. Parts of one's own, which have no name here, are described in words.
    """
    return dict(_described(recipe, ''))


def _described(part: Any, name: str) -> Iterable[tuple[str, Any]]:
    if name:
        yield name, _word(part)
    for key in _names(part):
        below = f'{name}.{key}' if name else key
        if below not in NOT_SETTINGS:
            yield from _described(_get(part, key), below)


# Who is told how training goes on is no setting.
NOT_SETTINGS = ('progress',)


def _word(part: Any) -> Any:
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, tuple):
        strings = all(isinstance(each, str) for each in part)
        return ','.join(part) if strings else in_words(part)
    kind = _kind(part)
    name = kind.__name__
    if {**PARTS, **AS_THEY_ARE, **MODELS}.get(name) is not kind:
        words = repr(part)
        whole = isinstance(part, type | partial) and tells_all(words)
        return words if whole else in_words(part)
    # What has settings that are no fields is told by them.
    told = kind is part or _names(part) or repr(part) == repr(PARTS[name]())
    return name if told else repr(part)


def _kind(part: Any) -> Any:
    # What a part is, by the name that it is asked for.
    if isinstance(part, partial):
        return part.func
    return part if callable(part) and hasattr(part, '__name__') else type(part)


def _names(part: Any) -> list[str]:
    if isinstance(part, partial):
        # The first two are the entities and the number of relations.
        return [*inspect.signature(part.func).parameters][2:]
    if not is_dataclass(part) or isinstance(part, type):
        return []
    return [field.name for field in fields(part)]


def _get(part: Any, name: str) -> Any:
    if not isinstance(part, partial):
        return getattr(part, name)
    default = inspect.signature(part.func).parameters[name].default
    return part.keywords.get(name, default)


def _changed(part: Any, name: str, value: Any) -> Any:
    if isinstance(part, partial):
        return partial(part.func, **{**part.keywords, name: value})
    return replace(part, **{name: value})


def _with(part: Any, path: list[str], value: Any, key: str) -> Any:
    name, *rest = path
    known = [each for each in _names(part) if each not in NOT_SETTINGS]
    if name not in known:
        raise UnknownSettingError(_unknown(name, known, key, part))
    old, kind = _get(part, name), _hint(part, name)
    below = partial(_with, old, rest) if rest else partial(_new, old, kind)
    new = below(value, key)
    try:
        return _changed(part, name, new)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{key}: {error}') from error


def _hint(part: Any, name: str) -> Any:
    # What a setting may be.
    if isinstance(part, partial):
        return get_type_hints(part.func.__init__).get(name, Any)
    return get_type_hints(type(part))[name]


def _new(old: Any, kind: Any, value: Any, key: str) -> Any:
    said = value.lower() if isinstance(value, str) else value
    if said == NOTHING and _may_be(kind, None):
        return None
    value = _several(kind, value)
    if not _may_be(kind, value) and isinstance(value, str):
        value = _part(value, kind, key)
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if _may_be(kind, value):
        return value
    if value is not None and _names(old):
        raise ValueError(
            f'{key} is a {_kind(old).__name__}: give the name of a part, or a '
            f'setting of it, such as {key}.{_names(old)[0]}'
        )
    there = [each.__name__ for each in _kinds(kind) if each in PLAIN]
    there = there or _parts_for(kind) or ['list of names']
    raise ValueError(f'{key} must be a {" or ".join(there)}, got {value!r}')


PLAIN = bool, int, float, str
# What makes a model waits for its entities.
MAKES_A_MODEL = ensemble.ModelFactory


def _kinds(kind: Any) -> tuple[Any, ...]:
    # Those that a hint leaves open.
    union = get_origin(kind) in (Union, UnionType)
    return get_args(kind) if union else (kind,)


def _may_be(kind: Any, value: Any) -> bool:
    return any(_is(value, each) for each in _kinds(kind))


def _is(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if kind in (None, type(None)):
        return value is None
    if kind in PLAIN:  # a bool is no number here
        return type(value) is kind or (kind, type(value)) == (float, int)
    if kind == MAKES_A_MODEL:
        return isinstance(value, partial) and value.func in MODELS.values()
    if get_origin(kind) is type:
        return isinstance(value, type) and issubclass(value, *get_args(kind))
    if get_origin(kind) is Callable:
        wanted = [inspect.formatannotation(x) for x in get_args(kind)[0]]
        return _arguments(value)[: len(wanted)] == wanted
    if get_origin(kind) is not None:
        return isinstance(value, get_origin(kind))
    if not getattr(kind, '_is_protocol', False):
        return isinstance(value, kind)
    if '__call__' in vars(kind):
        return _arguments(value) == _arguments(kind.__call__)
    methods = (name for name in vars(kind) if not name.startswith('_'))
    return all(callable(getattr(value, name, None)) for name in methods)


def _arguments(value: Any) -> list[str]:
    # The types of what it takes when it is called, in words; of what is no
    # function nothing.
    if isinstance(value, type) or not callable(value):
        return []
    call = value if inspect.isroutine(value) else type(value).__call__
    given = inspect.signature(call).parameters.values()
    words = (x.annotation for x in given if x.name != 'self')
    return [
        x if isinstance(x, str) else inspect.formatannotation(x) for x in words
    ]


def _several(kind: Any, value: Any) -> Any:
    # Names with commas between them, where the setting takes several.
    several = any(get_origin(each) is tuple for each in _kinds(kind))
    if not several or not isinstance(value, str | list):
        return value
    if not value:  # as () is described
        return ()
    names = value.split(',') if isinstance(value, str) else value
    return tuple(str(each).strip() for each in names)


def _made(word: str) -> Any:
    if word in PARTS:
        return PARTS[word]()
    return partial(MODELS[word]) if word in MODELS else AS_THEY_ARE[word]


def _parts_for(kind: Any) -> list[str]:
    # Names of the parts that a setting may be.
    every = [*PARTS, *MODELS, *AS_THEY_ARE]
    return [word for word in every if _may_be(kind, _made(word))]


def _part(word: str, kind: Any, key: str) -> Any:
    there = _parts_for(kind)
    if word in there:
        return _made(word)
    if not there:
        return word
    near = difflib.get_close_matches(word, there, n=1)
    hint = f'did you mean {near[0]!r}? ' if near else ''
    raise UnknownSettingError(
        f'{key}: no part that fits is called {word!r}; {hint}there are '
        f'{", ".join(there)}'
    )


def _unknown(name: str, known: list[str], key: str, part: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f'; did you mean {near[0]!r}?' if near else ''
    there = f'; there are {", ".join(known)}' if known else ''
    what = _kind(part).__name__
    return f'no setting {key!r}: {what} has no {name!r}{hint or there}'
