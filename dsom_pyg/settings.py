"""Settings of a recipe by name, from a TOML file or from the command line."""

import difflib
import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

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
        teachers.CrossEntropyReward,
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
        losses.mean_advantage,
        losses.paper_advantage,
        teachers.CompactState,
        teachers.LogitState,
        teachers.grid,
        teachers.subsets,
    )
}
MODELS: dict[str, Any] = {
    model.__name__: model
    for model in (
        models.ComplEx,
        models.DistMult,
        models.OTE,
        models.RotatE,
        models.TransE,
        models.TuckER,
    )
}
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
WORDS = {'true': True, 'false': False, 'none': None}


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
        tables = tomllib.loads(path.read_text(encoding='utf-8'))
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
        ValueError: A value is none that the setting can have.
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
        return ','.join(part)
    kind = _kind(part)
    name = kind.__name__
    if {**PARTS, **AS_THEY_ARE, **MODELS}.get(name) is not kind:
        return repr(part)
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
    known = _names(part)
    if name not in known or key in NOT_SETTINGS:
        raise UnknownSettingError(_unknown(name, known, key, part))
    old = _get(part, name)
    if rest:
        new = _with(old, rest, value, key)
    else:
        value = _several(part, name, value)
        plain = isinstance(value, tuple) or _plain(part, name, value)
        new = value if plain else _new(old, value, key)
    try:
        return _changed(part, name, new)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{key}: {error}') from error


def _several(part: Any, name: str, value: Any) -> Any:
    # Names with commas between them, where the setting takes several.
    if isinstance(part, partial) or not isinstance(value, str | list):
        return value
    kind = get_type_hints(type(part))[name]
    if not any(get_origin(each) is tuple for each in (kind, *get_args(kind))):
        return value
    names = value.split(',') if isinstance(value, str) else value
    return tuple(str(each).strip() for each in names)


def _plain(part: Any, name: str, value: Any) -> bool:
    # Whether a word (such as a precision, not that of a part) or none is
    # what the setting may be.
    if isinstance(part, partial) or not isinstance(value, str | None):
        return False
    kind = get_type_hints(type(part))[name]
    return type(value) in (kind, *get_args(kind))


def _new(old: Any, value: Any, key: str) -> Any:
    if isinstance(value, str) and not isinstance(old, str | int | float):
        return _part(value, key)
    if _names(old) and value is not None:
        raise ValueError(
            f'{key} is a {_kind(old).__name__}: give the name of a part, or a '
            f'setting of it, such as {key}.{_names(old)[0]}'
        )
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    # A bool is no number here.
    if isinstance(old, bool | int | float | str) and type(value) is not type(
        old
    ):
        raise ValueError(
            f'{key} must be a {type(old).__name__}, got {value!r}'
        )
    return value


def _part(word: str, key: str) -> Any:
    if word in PARTS:
        return PARTS[word]()
    if word in MODELS:
        return partial(MODELS[word])
    if word in AS_THEY_ARE:
        return AS_THEY_ARE[word]
    there = [*PARTS, *MODELS, *AS_THEY_ARE]
    near = difflib.get_close_matches(word, there, n=1)
    hint = f'did you mean {near[0]!r}? ' if near else ''
    raise UnknownSettingError(
        f'{key}: no part is called {word!r}; {hint}there are '
        f'{", ".join(there)}'
    )


def _unknown(name: str, known: list[str], key: str, part: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f'; did you mean {near[0]!r}?' if near else ''
    there = f'; there are {", ".join(known)}' if known else ''
    what = _kind(part).__name__
    return f'no setting {key!r}: {what} has no {name!r}{hint or there}'
