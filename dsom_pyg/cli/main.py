"""The command ``dsom-pyg``: the words of Python, for a terminal."""

import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from dsom_pyg.terminal import escape_what_cannot_be_shown

# Nothing else of this library is imported before a command needs it: torch
# alone takes seconds, and `--help` should not.
app = typer.Typer(
    name='dsom-pyg',
    help='Complete multimodal knowledge graphs: train, keep and ask a model.',
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[
        bool, typer.Option('--version', help='Tell it, and end.')
    ] = False,
) -> None:
    if version:
        from importlib.metadata import version as of

        print(f'dsom_pyg {of("dsom_pyg")}')
        raise typer.Exit


SOURCE = 'A folder with a graph, or a benchmark: Countries, DB15K, MKG_W, ...'
Source = Annotated[str, typer.Argument(help=SOURCE)]
Model = Annotated[Path, typer.Argument(help='The folder of a model.')]
Json = Annotated[
    bool, typer.Option('--json', help='Print JSON, for programs.')
]
K = Annotated[int, typer.Option('-k', help='How many.')]
TextEncoder = Annotated[
    str | None,
    typer.Option(help='none, tfidf, sbert[:NAME], bert[:NAME], clip:NAME'),
]
ImageEncoder = Annotated[
    str | None, typer.Option(help='none, statistics, vit[:NAME], clip:NAME')
]
Features = Annotated[
    list[str] | None,
    typer.Option(
        help='A file of features, such as audio=audio.npy; may recur.'
    ),
]
Order = Annotated[
    str | None,
    typer.Option(
        help='Of a folder: the order of the columns of triples without a '
        'header, such as htr. (default: hrt)'
    ),
]
Literals = Annotated[
    str | None,
    typer.Option(
        help='Of a folder: leave numbers and dates among the tails out, keep '
        'them as entities, or make features of them. (default: leave)'
    ),
]
Images = Annotated[
    str | None,
    typer.Option(help='Of a benchmark: a folder or a file of features.'),
]
Texts = Annotated[
    str | None,
    typer.Option(help='Of a benchmark: a file of entity and text.'),
]
MoreTexts = Annotated[
    bool | None,
    typer.Option(
        '--more-texts', help='Of a benchmark: further published texts, too.'
    ),
]
Device = Annotated[str, typer.Option(help='auto, cpu, cuda or mps.')]
Root = Annotated[
    Path, typer.Option(help='Where benchmarks are downloaded to.')
]

Reviewed = Annotated[
    Path | None,
    typer.Option(
        '--review',
        help='Decisions of people to heed. (default: review.jsonl in the '
        'folder of the model, if it is there)',
    ),
]

# Exit statuses: what went wrong, a graph that an audit cannot read, and an
# interruption as shells count it.
FAILED, UNREAD, INTERRUPTED = 1, 2, 130


@contextmanager
def told(*needed: str, status: int = FAILED) -> Iterator[None]:
    """Import modules, and say what goes wrong in one sentence."""
    _import(*needed)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            yield
    except BrokenPipeError:
        raise  # who reads has enough, such as `head`: typer ends quietly
    except KeyboardInterrupt as error:
        what = str(error) or 'interrupted; run the same again to go on'
        print(f'\n{what}', file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        _fail(str(error), status)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and 'memory' not in str(error):
            raise
        _fail(
            'not enough memory; take fewer channels, smaller batches '
            '(--set teachers.loop.batch_size=...) or another device: '
            + str(error).partition('\n')[0],
            status,
        )


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    # Those of other kinds are for programmers.
    if issubclass(category, UserWarning):
        from dsom_pyg.datasets.errors import printable

        print(f'warning: {printable(str(message))}', file=sys.stderr)


def _fail(message: str, status: int = FAILED) -> None:
    from dsom_pyg.datasets.errors import printable

    lines = [printable(line) for line in message.split('\n')]
    print('error: ' + '\n'.join(lines), file=sys.stderr)
    raise typer.Exit(status) from None


def _import(*modules: str) -> None:
    # Some libraries swallow an interruption while they are imported.
    if threading.current_thread() is not threading.main_thread():
        return

    def leave(*_: Any) -> None:
        sys.stderr.write('\ninterrupted; run the same again to go on\n')
        sys.stderr.flush()
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, leave)
    try:
        for module in modules:
            import_module(module)
    finally:
        signal.signal(signal.SIGINT, before)


@app.command()
def train(
    source: Source,
    out: Annotated[
        Path | None,
        typer.Option(help='The folder of the run. (default: runs/NAME)'),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help='Settings, a TOML file.')
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option('--set', help='A setting, such as seed=1; may recur.'),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help='small, tiny, held_out, paper or committee; best: that of '
            "a benchmark's best student. (default: by the size of the graph)"
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help='auto, cpu, cuda or mps. (default: auto)'),
    ] = None,
    text_encoder: TextEncoder = None,
    image_encoder: ImageEncoder = None,
    features: Features = None,
    images: Images = None,
    texts: Texts = None,
    more_texts: MoreTexts = None,
    columns: Order = None,
    literals: Literals = None,
    review: Annotated[
        Path | None,
        typer.Option(
            help='Decisions of people: accepted triples join train, rejected '
            'ones leave the graph.'
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help='Find suspects as well: judges are trained without one of '
            'so many parts of train. Each costs a training.',
        ),
    ] = None,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            help='Who keeps settings and curves as well: tensorboard, wandb '
            'or mlflow; may recur.'
        ),
    ] = None,
    root: Root = Path('datasets'),
    as_json: Json = False,
) -> None:
    """Train a model, and keep it in a folder.

    A run that was interrupted goes on by the same command.
    """
    with told('dsom_pyg.cli.run'):
        from dsom_pyg.cli.run import train_run

        train_run(
            source=source,
            out=out,
            config=config,
            words=set_ or [],
            recipe=recipe,
            device=device,
            text_encoder=text_encoder,
            image_encoder=image_encoder,
            features=features or [],
            images=images,
            texts=texts,
            more_texts=more_texts,
            columns=columns,
            literals=literals,
            review=review,
            folds=folds,
            trackers=tracker or [],
            root=root,
            as_json=as_json,
        )


@app.command()
def answer(
    model: Model,
    head: Annotated[str, typer.Argument(help="The head, or '?'.")],
    relation: Annotated[str, typer.Argument(help='The relation.')],
    tail: Annotated[str, typer.Argument(help="The tail, or '?'.")] = '?',
    k: K = 10,
    known: Annotated[
        bool, typer.Option('--known', help='Known answers too, marked.')
    ] = False,
    any_kind: Annotated[
        bool,
        typer.Option(
            '--any-kind', help='Any entity may answer, whatever its kind.'
        ),
    ] = False,
    review: Reviewed = None,
    as_json: Json = False,
) -> None:
    """Answer a question, such as: answer runs/countries Norway borders."""
    with told('dsom_pyg.completion'):
        found = _heeding(model, review).answer(
            None if head == '?' else head,
            relation,
            None if tail == '?' else tail,
            k=k,
            known=known,
            among='all' if any_kind else None,
        )
        _show(found, as_json)


@app.command()
def complete(
    model: Model,
    relation: Annotated[
        list[str] | None, typer.Option(help='This one alone; may recur.')
    ] = None,
    entity: Annotated[
        list[str] | None, typer.Option(help='About this one; may recur.')
    ] = None,
    min_probability: Annotated[
        float, typer.Option(help='Leave out what is less probable.')
    ] = 0.0,
    limit: Annotated[int, typer.Option(help='How many to keep.')] = 10_000,
    out: Annotated[
        Path | None,
        typer.Option(help='Write them there: .tsv, .nt or .parquet.'),
    ] = None,
    show: Annotated[int, typer.Option(min=0, help='How many to print.')] = 20,
    review: Reviewed = None,
    as_json: Json = False,
) -> None:
    """Propose triples that the graph may lack, most probable first."""
    with told('dsom_pyg.completion.writers'):
        from dsom_pyg.completion.results import Rows
        from dsom_pyg.completion.writers import check_ending

        if out is not None:
            check_ending(out)
        loaded = _heeding(model, review)
        found = loaded.complete(
            relation or None,
            entity or None,
            min_probability=min_probability,
            limit=limit,
        )
        if out is not None:
            loaded.write_proposals(out, found)
        if show or as_json:
            _show(Rows(found[:show], found.notes, found.kind), as_json)
        if not as_json:
            where = f' are in {out}' if out else '; --out FILE writes them'
            print(f'{len(found)} proposals{where}')


@app.command()
def add(
    model: Model,
    texts: Annotated[
        Path,
        typer.Option(help='New entities and their texts, a table.'),
    ],
    out: Annotated[Path, typer.Option(help='The folder of the new model.')],
    names: Annotated[
        Path | None,
        typer.Option(help='What they are called, a table, if not so.'),
    ] = None,
    triples: Annotated[
        Path | None,
        typer.Option(help='Triples of new entities with others, a table.'),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help='Their order without a header. (default: hrt)'),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help='A folder with images of new entities.'),
    ] = None,
    text_encoder: TextEncoder = None,
    image_encoder: ImageEncoder = None,
    device: Device = 'auto',
) -> None:
    """Add entities that were not there in training, without another one.

    Encoders must be those of the training; tfidf and statistics need no word.
    """
    with told('dsom_pyg.cli.add'):
        from dsom_pyg.cli.add import add_run
        from dsom_pyg.cli.source import device_of

        add_run(
            model=model,
            out=out,
            texts=texts,
            names=names,
            triples=triples,
            columns=columns,
            images=images,
            text_encoder=text_encoder,
            image_encoder=image_encoder,
            device=device_of(device),
        )


@app.command()
def suspects(
    model: Model,
    k: K = 20,
    relation: Annotated[
        str | None, typer.Option(help='Of this one alone.')
    ] = None,
    review: Reviewed = None,
    as_json: Json = False,
) -> None:
    """Show known triples that may be wrong, the least believed first.

    The model must have been trained with --folds.
    """
    with told('dsom_pyg.completion'):
        found = _heeding(model, review).suspects(k, relation)
        _show(found, as_json)


@app.command()
def explain(
    model: Model,
    head: str,
    relation: str,
    tail: str,
    review: Reviewed = None,
    as_json: Json = False,
) -> None:
    """Say who holds a triple to be true, and on what evidence."""
    with told('dsom_pyg.completion'):
        heeding = _heeding(model, review)
        found = heeding.explain(head, relation, tail)
        print(_as_json(asdict(found)) if as_json else found)


@app.command()
def evaluate(
    model: Model,
    source: Annotated[
        str | None, typer.Argument(help=f'{SOURCE} (default: what was kept)')
    ] = None,
    split: Annotated[str, typer.Option(help='train, val or test.')] = 'test',
    columns: Order = None,
    literals: Literals = None,
    root: Root = Path('datasets'),
    as_json: Json = False,
) -> None:
    """Rank the triples of a split, filtered, equal scores counting half."""
    with told('dsom_pyg.completion'):
        dataset = None
        if source is not None:
            from dsom_pyg.cli.source import dataset_of

            dataset = dataset_of(
                source,
                root,
                'none',
                'none',
                columns=columns,
                literals=literals,
            )
        result = _load(model).evaluate(dataset, split)
        if as_json:
            print(json.dumps({'split': split, **result.metrics()}))
        else:
            print(f'{split}: {result}')


@app.command()
def report(
    model: Model,
    out: Annotated[
        Path | None,
        typer.Option(help='The file. (default: report.html in the folder)'),
    ] = None,
) -> None:
    """Write a report of a run: one HTML file, which needs no network."""
    with told('dsom_pyg.pages.report'):
        from dsom_pyg.pages.report import write_report

        path = write_report(model, out)
        print(f'written: {path} ({path.stat().st_size / 1e6:.1f} MB)')


@app.command()
def serve(
    model: Model,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help='Of this machine.')
    ] = 8765,
    review: Annotated[
        Path | None,
        typer.Option(
            help='Where decisions are kept. (default: review.jsonl in the '
            'folder of the model)'
        ),
    ] = None,
) -> None:
    """Open a local site: search, answers, reasons, review."""
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        _fail('the site needs FastAPI: pip install "dsom_pyg[site]"')
    with told('dsom_pyg.pages.site'):
        from dsom_pyg.pages.site import serve as run

        run(model, review, port)


@app.command()
def info(
    model: Model,
    settings: Annotated[
        bool, typer.Option('--settings', help='Those of its training, too.')
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a folder holds, without loading it."""
    with told('dsom_pyg.completion.store'):
        from dsom_pyg.completion.store import read_manifest

        about = read_manifest(model)
        if as_json:
            print(_as_json(about))
            return
        from dsom_pyg.datasets.errors import printable

        for line in _facts(about, settings):
            print(printable(line))


def _facts(about: dict[str, Any], settings: bool) -> Iterator[str]:
    run, calibration = about['about'], about['calibration']
    yield f'{about["model"]} of {run.get("dataset", "a graph")}'
    yield f'entities    {about["num_entities"]:,}'
    yield f'relations   {about["num_relations"]:,}'
    yield f'fingerprint {about["fingerprint"]}'
    yield f'teachers    {", ".join(about["teachers"]) or "not kept"}'
    yield f'written by  dsom_pyg {about["version"]}'
    for split, values in run.get('metrics', {}).items():
        told = ', '.join(f'{k} {v:.2f}' for k, v in values.items())
        yield f'{split:11s} {told}'
    if added := run.get('added'):
        yield f'added       {added:,} entities; figures are of before'
    yield (
        f'calibration error on validation {calibration["after"]:.3f} '
        f'({calibration["before"]:.3f} without temperatures)'
    )
    for name, value in run.get('run', {}).items() if settings else ():
        yield f'  {name} = {value}'


@app.command()
def export(
    model: Model,
    out: Annotated[
        Path,
        typer.Argument(
            help='A file: .safetensors, .npz or .faiss; .tsv or .parquet.'
        ),
    ],
    review: Reviewed = None,
) -> None:
    """Write embeddings with names, a vector index that answers, or, as .tsv
    or .parquet, the triples of the graph as people have corrected it.
    """
    with told('dsom_pyg.completion.writers'):
        from dsom_pyg.completion.writers import TRIPLES

        if out.suffix.lower() in TRIPLES:
            _heeding(model, review).write_triples(out)
        elif review is not None:
            raise ValueError(
                '--review: decisions change no embeddings; they are heeded '
                f'in {" and ".join(TRIPLES)}'
            )
        else:
            _load(model).export(out)
        print(f'written: {out}')


@app.command()
def encode(
    source: Source,
    text_encoder: TextEncoder = None,
    image_encoder: ImageEncoder = None,
    features: Features = None,
    images: Images = None,
    texts: Texts = None,
    more_texts: MoreTexts = None,
    columns: Order = None,
    literals: Literals = None,
    device: Device = 'auto',
    root: Root = Path('datasets'),
) -> None:
    """Encode texts and images ahead of a training, which finds them again."""
    with told('dsom_pyg.cli.source'):
        from dsom_pyg.cli.source import dataset_of, device_of, features_of
        from dsom_pyg.processes import first

        dataset = dataset_of(
            source,
            root,
            text_encoder,
            image_encoder,
            features_of(features or []),
            images,
            texts,
            device_of(device),
            columns,
            literals,
            more_texts,
        )
        if not first():
            return
        for kind, store in zip(
            dataset[0].node_types, dataset[0].node_stores, strict=True
        ):
            if 'x' in store:
                rows, width = store.x.shape
                print(f'{kind}: {rows:,} rows of {width} numbers')
        for finding in dataset.findings:
            print(finding)


@app.command()
def audit(
    source: Source,
    strict: Annotated[
        bool, typer.Option('--strict', help='Exit with 1 on any problem.')
    ] = False,
    images: Annotated[bool, typer.Option(help='Open the images.')] = True,
    columns: Order = None,
    literals: Literals = None,
    out: Annotated[
        Path | None, typer.Option('--json', help='Write the report there.')
    ] = None,
    root: Root = Path('datasets'),
) -> None:
    """Say what is wrong with a graph; a folder stays as it is.

    The status is 0, 2 if the graph cannot be read, and with --strict 1 if
    there is a problem.
    """
    with told('dsom_pyg.audit', 'dsom_pyg.cli.source', status=UNREAD):
        from dsom_pyg.cli.source import audit_of

        if out and not out.parent.is_dir():
            raise ValueError(f"--json: there is no folder '{out.parent}'")
        if out and out.is_dir():
            raise ValueError(f"--json: '{out}' is a folder; name a file")
        report = audit_of(source, root, images, columns, literals)
        try:
            if out:
                report.save(out)
        finally:
            print(report)
        raise typer.Exit(int(strict and not report.ok))


def _load(folder: Path) -> Any:
    from dsom_pyg.completion import Completer

    return Completer.load(folder)


def _heeding(folder: Path, review: Path | None) -> Any:
    # The model, and what people decided since it was trained.
    from dsom_pyg.completion.review import FILE, Review

    loaded = _load(folder)
    if review is not None and not review.is_file():
        raise ValueError(f"--review: there is no file '{review}'")
    said = Review(review or folder / FILE)
    judged = said.judged(loaded.entities, loaded.relations_known)
    if not any(len(each.edge_type) for each in judged):
        return loaded
    if count := len(judged.decided.edge_type):
        print(f'heeding {count} decisions of {said.path}', file=sys.stderr)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # said above
        return loaded.with_review(said)


def _show(found: Any, as_json: bool) -> None:
    if not as_json:
        print(found)
        return
    rows = [asdict(row) for row in found]
    print(_as_json({'rows': rows, 'notes': found.notes}))


def _as_json(value: Any) -> str:
    # JSON has no NaN.
    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {key: plain(each) for key, each in x.items()}
        if isinstance(x, list | tuple):
            return [plain(each) for each in x]
        return None if isinstance(x, float) and x != x else x

    # What an output cannot say it would say in escapes of Python.
    plainly = (sys.stdout.encoding or '').lower().startswith('utf')
    return json.dumps(plain(value), ensure_ascii=not plainly, allow_nan=False)


def main() -> None:
    """Run the command."""
    escape_what_cannot_be_shown()
    app()
