"""Models on the hub, faked at its boundary."""

import ast
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import yaml
from huggingface_hub.utils import filter_repo_objects

from dsom_pyg import completion
from dsom_pyg.completion import Calibration, Completer, ModelFolderError
from dsom_pyg.completion.card import model_card
from dsom_pyg.completion.vocabulary import Vocabulary

NAME = 'someone/ships'
COMMIT = '0123456789abcdef0123456789abcdef01234567'
MODEL = ['graph', 'model', 'student', 'teachers']


class FakeHub:
    """Repositories as folders, by id and revision."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def note(self, name: str, **options: Any) -> None:
        self.calls.append((name, options))

    def folder(self, repo_id: str, revision: str | None) -> Path:
        return self.root / repo_id / (revision or 'main')

    def api(self, token: object = None) -> SimpleNamespace:
        self.note('api', token=token)

        def create_repo(
            repo_id: str, *, private: bool | None, exist_ok: bool
        ) -> None:
            self.note('create_repo', private=private)
            assert exist_ok
            self.folder(repo_id, None).mkdir(parents=True, exist_ok=True)

        def create_branch(
            repo_id: str, *, branch: str, exist_ok: bool
        ) -> None:
            assert exist_ok
            self.folder(repo_id, branch).mkdir(exist_ok=True)

        def upload_folder(
            *,
            repo_id: str,
            folder_path: Path,
            revision: str | None,
            allow_patterns: list[str],
            delete_patterns: list[str],
            commit_message: str,
        ) -> SimpleNamespace:
            there = self.folder(repo_id, revision)
            old = [path.name for path in there.iterdir()]
            for name in filter_repo_objects(
                old, allow_patterns=delete_patterns
            ):
                (there / name).unlink()
            new = [path.name for path in Path(folder_path).iterdir()]
            for name in filter_repo_objects(
                new, allow_patterns=allow_patterns
            ):
                shutil.copy(Path(folder_path) / name, there)
            return SimpleNamespace(commit_url=f'https://hub/{repo_id}')

        return SimpleNamespace(
            create_repo=create_repo,
            create_branch=create_branch,
            upload_folder=upload_folder,
        )

    def snapshot_download(
        self,
        repo_id: str,
        *,
        revision: str | None,
        cache_dir: Path,
        token: object,
        allow_patterns: list[str],
    ) -> str:
        self.note('download', revision=revision, token=token)
        source = self.folder(repo_id, revision)
        if not source.is_dir():
            raise huggingface_hub.errors.HFValidationError('no such thing')
        out = Path(cache_dir) / repo_id / (revision or 'main')
        out.mkdir(parents=True)
        every = [
            path.relative_to(source).as_posix()
            for path in source.rglob('*')
            if path.is_file()
        ]
        for name in filter_repo_objects(every, allow_patterns=allow_patterns):
            (out / name).parent.mkdir(exist_ok=True)
            shutil.copy(source / name, out / name)
        return str(out)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / 'hub')
    monkeypatch.setattr(huggingface_hub, 'HfApi', fake.api)
    monkeypatch.setattr(
        huggingface_hub, 'snapshot_download', fake.snapshot_download
    )
    return fake


def test_there_and_back(
    model: Completer, hub: FakeHub, tmp_path: Path
) -> None:
    assert model.push_to_hub(NAME, token='secret') == f'https://hub/{NAME}'
    assert hub.calls == [
        ('api', {'token': 'secret'}),
        ('create_repo', {'private': True}),
    ]
    there = sorted(p.stem for p in hub.folder(NAME, None).iterdir())
    assert there == ['README', *MODEL]
    other = Completer.from_pretrained(
        NAME, cache_dir=tmp_path / 'cache', token='read'
    )
    assert hub.calls[-1] == ('download', {'revision': None, 'token': 'read'})
    asked = 'MV Auk', 'calls at'
    assert other.answer(*asked) == model.answer(*asked)


def test_a_revision(model: Completer, hub: FakeHub, tmp_path: Path) -> None:
    model.push_to_hub(NAME, private=False, revision='v1')
    assert ('create_repo', {'private': False}) in hub.calls
    assert not list(hub.folder(NAME, None).iterdir())
    asked = {'source': NAME, 'cache_dir': tmp_path / 'cache'}
    assert Completer.from_pretrained(**asked, revision='v1').graph
    assert hub.calls[-1] == ('download', {'revision': 'v1', 'token': None})
    with pytest.raises(ModelFolderError, match=r'holds no model\.json'):
        Completer.from_pretrained(**asked)
    with pytest.raises(OSError, match="such repository at revision 'v2'"):
        Completer.from_pretrained(**asked, revision='v2')


def test_what_lies_beside_is_not_taken(
    model: Completer, hub: FakeHub, tmp_path: Path
) -> None:
    model.push_to_hub(NAME)
    source = hub.folder(NAME, None)
    evil = 'raise SystemExit("this ran")'
    (source / 'sub').mkdir()
    for name in (
        *('model.py', 'pytorch_model.bin', 'student.safetensors.pkl'),
        *('config.json', 'sub/model.json', 'sub/graph.safetensors'),
    ):
        (source / name).write_text(evil)
    cache = tmp_path / 'cache'
    assert Completer.from_pretrained(NAME, cache_dir=cache).graph
    got = sorted(p.stem for p in cache.rglob('*') if p.is_file())
    assert got == ['README', *MODEL]


def test_an_earlier_model_goes(
    model: Completer, hub: FakeHub, tmp_path: Path
) -> None:
    model.push_to_hub(NAME)
    without = replace(model.parts, teachers=None, weights=None)
    Completer(without).push_to_hub(NAME)
    there = [path.stem for path in hub.folder(NAME, None).iterdir()]
    assert sorted(there) == ['README', *MODEL[:3]]


def test_a_changed_file_is_found(
    model: Completer, hub: FakeHub, tmp_path: Path
) -> None:
    model.push_to_hub(NAME)
    path = hub.folder(NAME, None) / 'student.safetensors'
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 4
    path.write_bytes(raw)
    with pytest.raises(ModelFolderError, match=r'student.*is damaged, or of'):
        Completer.from_pretrained(NAME, cache_dir=tmp_path / 'cache')


def test_paths_of_images_stay_here(
    model: Completer, hub: FakeHub, tmp_path: Path
) -> None:
    images = [['/home/me/auk.jpg'], *([] for _ in range(13))]
    mine = Completer(replace(model.parts, images=images))
    mine.push_to_hub(NAME)
    other = Completer.from_pretrained(NAME, cache_dir=tmp_path / 'cache')
    assert not any(other.parts.images)
    assert other.parts.texts == model.parts.texts
    assert mine.parts.images == images


def test_a_folder(model: Completer, tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    model.save(folder)
    for source in (folder, str(folder)):
        other = Completer.from_pretrained(source)
        assert other.graph.fingerprint == model.graph.fingerprint
        with pytest.raises(ValueError, match=r"is a folder .* revision 'v1'"):
            Completer.from_pretrained(source, revision='v1')
    with pytest.raises(ModelFolderError, match='there is no such folder'):
        Completer.from_pretrained(tmp_path / 'none')


def test_the_hub_refuses(
    model: Completer, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match=r"no folder 'a/b'.*no such thing"):
        Completer.from_pretrained('a/b')

    def refuse(*args: object, **options: object) -> None:
        raise huggingface_hub.errors.HFValidationError('a bad name')

    api = SimpleNamespace(create_repo=refuse)
    monkeypatch.setattr(huggingface_hub, 'HfApi', lambda token: api)
    with pytest.raises(OSError, match=r"upload to 'a/b' \(a bad name\)"):
        model.push_to_hub('a/b')


def test_the_library_is_missing(
    model: Completer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(ImportError, match='pip install huggingface_hub'):
        model.push_to_hub(NAME)
    with pytest.raises(ImportError, match='pip install huggingface_hub'):
        Completer.from_pretrained(NAME)


def test_offline_from_the_cache(
    model: Completer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The true library, on a cache as it lays it out."""

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError('reached for the network')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'create_connection', refuse)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    place = tmp_path / f'models--{NAME.replace("/", "--")}'
    model.save(place / 'snapshots' / COMMIT)
    (place / 'refs').mkdir()
    for revision in ('main', 'v1'):
        (place / 'refs' / revision).write_text(COMMIT)
    asked: dict[str, Any] = {'source': NAME, 'cache_dir': tmp_path}
    for options in ({}, {'revision': 'v1'}, {'revision': COMMIT}):
        other = Completer.from_pretrained(**asked, **options)
        assert other.graph.fingerprint == model.graph.fingerprint
    why = "no such repository at revision 'v2' that is cached"
    with pytest.raises(OSError, match=why):
        Completer.from_pretrained(**asked, revision='v2')
    asked['cache_dir'] = tmp_path / 'empty'
    with pytest.raises(OSError, match='no such repository that is cached'):
        Completer.from_pretrained(**asked)


def test_a_cached_commit_needs_no_network(
    model: Completer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a branch the copy may be old; releases before 2.2 ask for both."""
    model.save(tmp_path / 'cached')

    def older(source: str, local_files_only: bool = False, **_: Any) -> str:
        if not local_files_only:
            raise ConnectionError('offline')
        if source != NAME:
            raise FileNotFoundError('not in the cache')
        return str(tmp_path / 'cached')

    monkeypatch.setattr(huggingface_hub, 'snapshot_download', older)
    other = Completer.from_pretrained(NAME, revision=COMMIT)
    assert other.graph.fingerprint == model.graph.fingerprint
    for revision in (None, 'main', COMMIT[:-1]):
        with pytest.raises(OSError, match='offline'):
            Completer.from_pretrained(NAME, revision=revision)
    with pytest.raises(OSError, match='offline'):
        Completer.from_pretrained('someone/else', revision=COMMIT)


def test_big_libraries_are_imported_late() -> None:
    # Other libraries may have imported them, so the sources are looked at.
    big = {'huggingface_hub', 'faiss', 'pyarrow', 'pandas', 'matplotlib'}
    paths = list(Path(completion.__file__).parent.glob('*.py'))
    assert len(paths) > 10
    for path in paths:
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [str(getattr(node, 'module', ''))]
            assert not big & {name.split('.')[0] for name in names}, path


def split_card(text: str) -> tuple[dict[str, Any], str]:
    _, front, page = text.split('---\n', 2)
    return yaml.safe_load(front), page


def test_a_card(model: Completer, hub: FakeHub) -> None:
    model.push_to_hub(NAME, license='mit', revision='v1')
    path = hub.folder(NAME, 'v1') / 'README.md'
    front, page = split_card(path.read_text(encoding='utf-8'))
    assert front['library_name'] == 'dsom_pyg'
    assert front['license'] == 'mit'
    assert 'link-prediction' in front['tags']
    metrics = model.evaluate().metrics()
    (entry,) = front['model-index']
    assert entry['name'] == 'ships'
    (result,) = entry['results']
    assert result['dataset']['split'] == 'test'
    values = {each['type']: each['value'] for each in result['metrics']}
    assert values == {
        key: round(metrics[key], 2) for key in ('mrr', 'hits@1', 'hits@10')
    }
    assert f'| test | {metrics["mrr"]:.2f} |' in page
    assert '| entities, relations | 14, 3 |' in page
    assert model.graph.fingerprint in page
    assert '\nstudent.channels = 4\n' in page
    error = 100 * model.parts.calibration.after
    assert f'{error:.1f} % off on average' in page
    assert 'realistic ties' in page


def test_a_card_says_what_its_figures_are_of(model: Completer) -> None:
    more = replace(model.parts, about={**model.parts.about, 'added': 2})
    said = 'of before 2 entities were added'
    assert said in model_card(NAME, more)
    assert 'of before' not in model_card(NAME, model.parts)
    # A model that heeds decisions has another graph than the one it was
    # ranked on.
    part = model.graph.triples('test').select(slice(0, 1))
    none = part.select(slice(0, 0))
    heeds = replace(more, accepted=none, rejected=part)
    assert f'{said} and people decided on triples' in model_card(NAME, heeds)
    odd = replace(model.parts, about={**model.parts.about, 'dataset': 'p|q'})
    assert '\n| graph | p\\|q |\n' in model_card(NAME, odd)


def test_the_example_of_a_card_runs(model: Completer, hub: FakeHub) -> None:
    # Of two entities with one name, the one that the graph has.
    head = int(model.graph.triples('train').edge_index[0, 0])
    names = list(model.entities.names)
    names[0 if head else 1] = names[head]
    keys = [str(100 + at) for at in range(14)]
    mine = replace(model.parts, entities=Vocabulary(names, keys))
    _, page = split_card(model_card(NAME, mine))
    code = page.split('```python\n')[1].split('```')[0]
    lines = [line for line in code.splitlines() if line]
    assert len(lines) <= 5
    asked = []
    source: dict[str, Any] = {'print': asked.append}
    first, made, *questions = lines
    exec(first, source)
    assert made == f'model = Completer.from_pretrained({NAME!r})'
    source['model'] = Completer(mine)
    exec('\n'.join(questions), source)
    answers, proposals = asked
    assert answers == Completer(mine).answer(
        head, questions[0].split("'")[-2], k=5
    )
    assert all(x.probability >= 0.5 for x in proposals)


def test_a_card_of_a_model_without_much(model: Completer) -> None:
    parts = replace(
        model.parts,
        about={},
        teachers=None,
        calibration=Calibration.none(3),
    )
    front, page = split_card(model_card(NAME, parts))
    assert 'license' not in front
    assert 'model-index' not in front
    for words in ('Not measured.', 'not calibrated', '| not kept |'):
        assert words in page
    assert 'nan' not in page
