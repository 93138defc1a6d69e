"""What a model card says of a model."""

import math
from importlib import import_module

from dsom_pyg.completion.provenance import Provenance
from dsom_pyg.completion.store import Parts
from dsom_pyg.graph import SPLITS

# How metrics are called there, and here.
SHOWN = {'mrr': 'MRR', 'hits@1': 'Hits@1', 'hits@10': 'Hits@10'}
PAGE = """
# {title}

A small model of a knowledge graph, trained by
[DSoM](https://doi.org/10.1145/3746027.3754576) with dsom_pyg {version}. It
answers (head, relation, ?) and (?, relation, tail) by name, and needs neither
images nor texts.

```python
from dsom_pyg import Completer

model = Completer.from_pretrained({source})
print(model.answer({head}, {relation}, k=5))
print(model.complete({relation}, min_probability=0.5))
```

| graph | {dataset} |
|---|---|
| entities, relations | {entities:,}, {relations:,} |
| train, validation, test triples | {train:,}, {val:,}, {test:,} |
| fingerprint (SHA-256) | `{fingerprint}` |
| model | {model}, D = {channels} |
| teachers | {teachers} |

## Accuracy

{metrics}

Filtered ranks among all entities, of heads and of tails: known answers of
all splits are no rivals; an equal score counts half (realistic ties).{before}

## Settings

```text
{settings}
```

## Limits

- The probability of an answer is how likely it is *the* answer, given that the
  question has one that the graph does not know. Most questions have none.
- That of a proposal of `complete` is how likely it is to be among triples that
  are held back, if as many are as validation holds. It is no proof.
- {calibration}
- What no training triple has is answered with a note that says so.
- The model repeats what its graph holds, mistakes and gaps included.
"""


def model_card(
    source: str,
    parts: Parts,
    license: str | None = None,
    revision: str | None = None,
) -> str:
    r"""A page in Markdown, with the metadata of the hub in front.

    Args:
        source: What the model is loaded by.
        parts: The model.
        license: Named only if it is given.
        revision: The branch that it goes to.
    """
    said = Provenance.of(parts)._asdict()
    said['dataset'] = said['dataset'].replace('|', '\\|')
    graph, teachers = parts.graph, parts.teachers
    sizes = {s: graph.triples(s).edge_type.numel() for s in SPLITS}
    part = graph.triples('train')
    # An example is what the graph has, so that it can be asked.
    head, rel = part.edge_index[0, :1].tolist(), part.edge_type[:1].tolist()
    at = '' if revision is None else f', revision={revision!r}'
    page = PAGE.format(
        title=source,
        source=f'{source!r}{at}',
        head=repr(parts.entities.word(*head)),
        relation=repr(parts.relations.word(*rel)),
        entities=len(parts.entities),
        relations=len(parts.relations),
        channels=parts.student.hidden_channels,
        teachers='not kept'
        if teachers is None
        else ', '.join(teachers.modalities),
        metrics=_metrics(parts),
        before=_before(parts),
        settings=_settings(parts),
        calibration=_calibration(parts),
        **sizes,
        **said,
    )
    return f'---\n{_front(source, parts, license)}---\n{page}'


def _before(parts: Parts) -> str:
    added, later = parts.about.get('added', 0), []
    if added:
        later.append(f'{added:,} entities were added')
    if parts.accepted is not None:
        later.append('people decided on triples of its graph')
    return f' They are of before {" and ".join(later)}.' if later else ''


def _front(source: str, parts: Parts, license: str | None) -> str:
    hub = import_module('huggingface_hub')
    name = str(parts.about.get('dataset', 'unknown'))
    results = [
        hub.EvalResult(
            task_type='graph-ml',
            task_name='knowledge graph completion',
            dataset_type=name,
            dataset_name=name,
            dataset_split='test',
            metric_type=key,
            metric_name=f'{shown} (filtered, realistic ties)',
            metric_value=round(value, 2),
        )
        for key, shown in SHOWN.items()
        for value in [_measured(parts, 'test', key)]
        if math.isfinite(value)
    ]
    tags = ['knowledge-graph', 'knowledge-graph-completion']
    data = hub.ModelCardData(
        library_name='dsom_pyg',
        tags=[*tags, 'link-prediction', 'dsom'],
        license=license,
        model_name=source.rpartition('/')[2] if results else None,
        eval_results=results or None,
    )
    return f'{data.to_yaml()}\n'


def _measured(parts: Parts, split: str, key: str) -> float:
    metrics = parts.about.get('metrics', {}).get(split, {})
    return float(metrics.get(key, math.nan))


def _metrics(parts: Parts) -> str:
    rows = [
        f'| {split} | '
        + ' | '.join(f'{_measured(parts, split, key):.2f}' for key in SHOWN)
        + ' |'
        for split in parts.about.get('metrics', {})
    ]
    if not rows:
        return 'Not measured.'
    head = [f'| split | {" | ".join(SHOWN.values())} |', '|---|---|---|---|']
    return '\n'.join([*head, *rows])


def _settings(parts: Parts) -> str:
    settings = parts.about.get('run', {})
    lines = [f'{name} = {value}' for name, value in settings.items()]
    return '\n'.join(lines) or 'not known'


def _calibration(parts: Parts) -> str:
    found = parts.calibration
    if not found.pairs:
        return 'Probabilities are not calibrated: there was no validation.'
    return (
        f'Probabilities are calibrated on {found.pairs:,} pairs of '
        f'validation: there they are {100 * found.after:.1f} % off on '
        f'average (expected calibration error), {100 * found.before:.1f} % '
        'before.'
    )
