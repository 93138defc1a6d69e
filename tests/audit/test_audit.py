import errno
import json
import os
import random
import re
import subprocess
import sys
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dsom_pyg.audit import AuditReport, audit, audit_folder, leakage
from dsom_pyg.audit.report import audit_raw
from dsom_pyg.cli.main import app
from dsom_pyg.datasets import DB15K, WN9, Countries, FakeMMKG, MKGFolder
from dsom_pyg.datasets.base import Origin, RawGraph
from dsom_pyg.datasets.features.files import save_features
from dsom_pyg.encoders import open_image
from dsom_pyg.graph import SPLITS, Triples, make_data, num_entities

_PLACE = os.environ.get('DSOM_PYG_MIRROR', '')
MIRROR = _PLACE if _PLACE and Path(_PLACE).is_dir() else None

Rows = list[tuple[int, int, int]]
ENTITIES, RELATIONS = 13, 5


def main(words: list[str]) -> int:
    """The command; what it says is said here."""
    done = CliRunner().invoke(app, ['audit', *words])
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.exit_code


def draw(seed: int) -> dict[str, Rows]:
    """Splits with every fault there is, h, r, t."""
    rng = random.Random(seed)

    def row() -> tuple[int, int, int]:
        # Entity 10 and relation 3 are rare.
        head, tail = rng.choices(range(11), [5] * 10 + [1], k=2)
        return head, rng.choice([0, 0, 1, 2, 2, 3][: rng.choice([5, 6])]), tail

    train = [row() for _ in range(40)]
    # Relation 1 is the reverse of relation 0, relation 2 is symmetric.
    train += [(t, 1, h) for h, r, t in train if r == 0 and rng.random() < 0.9]
    train += [(t, 2, h) for h, r, t in train if r == 2]
    val = [row() for _ in range(8)] + rng.sample(train, 3)
    test = [row() for _ in range(10)] + rng.sample(train, 2) + val[:2]
    # Test alone has relation 4 and entity 11; entity 12 is nowhere.
    test += [(11, 4, 0), (1, 0, 11)]
    return {'train': train, 'val': val * 2, 'test': test}


def triples(rows: Rows) -> Triples:
    table = torch.tensor(rows, dtype=torch.long).reshape(-1, 3)
    return Triples(table[:, [0, 2]].t().contiguous(), table[:, 1].contiguous())


def raw_graph(rows: dict[str, Rows]) -> RawGraph:
    parts = [triples(rows[split]) for split in SPLITS]
    return RawGraph(
        make_data(ENTITIES, RELATIONS, *parts),
        [f'e{index}' for index in range(ENTITIES)],
        [f'r{index}' for index in range(RELATIONS)],
        [['text']] * 3 + [[]] * (ENTITIES - 3),
        [[] for _ in range(ENTITIES)],
        [True] + [False] * (ENTITIES - 1),
        origins={
            split: Origin(
                Path(f'/data/{split}.tsv'), torch.arange(len(rows[split])) + 7
            )
            for split in SPLITS
        },
    )


@pytest.fixture(params=range(4))
def rows(request: pytest.FixtureRequest) -> dict[str, Rows]:
    return draw(request.param)


def report_of(rows: dict[str, Rows]) -> AuditReport:
    return audit_raw(raw_graph(rows), 'random', Path('/data'))


def test_duplicates_and_overlaps(rows: dict[str, Rows]) -> None:
    report = report_of(rows)
    sets = {split: set(rows[split]) for split in SPLITS}
    assert report['duplicates within a split'] == {
        split: len(rows[split]) - len(sets[split]) for split in SPLITS
    }
    val, test = sets['val'], sets['test']
    train = sets['train']
    assert report['overlaps between splits'] == {
        'val in train, rows': sum(row in train for row in rows['val']),
        'val in train, distinct': len(val & train),
        'val in test, rows': sum(row in test for row in rows['val']),
        'val in test, distinct': len(val & test),
        'val, distinct': len(val),
        'val in neither, distinct': len(val - train - test),
        'test in train, rows': sum(row in train for row in rows['test']),
        'test in train, distinct': len(test & train),
        'test, distinct': len(test),
        'test not in train, distinct': len(test - train),
    }
    text = ' '.join(report.problems)
    assert f'{len(val & train)} of {len(val)} distinct val' in text
    assert f'{len(test & train)} of {len(test)} distinct test' in text


def test_pairs_known_from_train(rows: dict[str, Rows]) -> None:
    facts = report_of(rows)['pairs known from train']
    train = set(rows['train'])
    pairs = {(h, t) for h, _, t in train}
    for split in ('val', 'test'):
        # A self loop is its own reverse.
        back = sum((t, h) in pairs and h != t for h, _, t in rows[split])
        same = sum(
            any((h, x, t) in train for x in range(RELATIONS) if x != r)
            for h, r, t in rows[split]
        )
        assert facts[f'{split}, reversed in train'] == back
        assert facts[f'{split}, in train under another relation'] == same
        share = facts[f'{split}, reversed in train, share']
        assert share == pytest.approx(back / len(rows[split]))
        assert back
        assert same


def sharing(
    rows: Rows, threshold: float, least: int
) -> dict[str, list[tuple[Any, ...]]]:
    """Relations that share pairs, by brute force."""
    pairs: dict[int, set[tuple[int, int]]] = {}
    for head, rel, tail in rows:
        if head != tail:
            pairs.setdefault(rel, set()).add((head, tail))
    out: dict[str, list[tuple[Any, ...]]] = {
        kind: [] for kind in ('symmetric', 'reversed', 'repeated')
    }
    for (a, mine), (b, theirs) in product(pairs.items(), repeat=2):
        back = {(t, h) for h, t in theirs}
        for kind, other in (
            ('symmetric' if a == b else 'reversed', back),
            ('repeated', theirs),
        ):
            n = len(mine & other)
            if n >= least and n / len(mine) >= threshold:
                pair = a, b, n, n / len(mine), n / len(theirs)
                out[kind] += [pair] * (kind != 'repeated' or a != b)
    for found in out.values():
        found.sort(key=lambda each: (-each[2], each))
    return out


@pytest.mark.parametrize('block', [1, 40, leakage.BLOCK])
@pytest.mark.parametrize('threshold', [0.3, 0.8])
def test_relations_that_say_the_same(
    rows: dict[str, Rows],
    threshold: float,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leakage, 'BLOCK', block)
    train = rows['train']
    expected = sharing(train, threshold, 2)
    graph = triples(train), ENTITIES, RELATIONS
    for keep in (0, 1, 2, 100):
        found = leakage.relation_pairs(*graph, threshold, 2, keep)
        assert found == {
            kind: (len(pairs), [pytest.approx(x) for x in pairs[:keep]])
            for kind, pairs in expected.items()
        }
    # By construction.
    assert 2 in {pair.first for pair in found['symmetric'].most}


@pytest.mark.parametrize('block', [1, 500, leakage.BLOCK])
@pytest.mark.parametrize('seed', range(3))
def test_many_relations_that_share_pairs(
    seed: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leakage, 'BLOCK', block)
    rng = random.Random(seed)
    # Few pairs under many relations, whose ids have gaps.
    many: Rows = []
    for rel in range(0, 160, 2):
        ends = rng.sample(list(product(range(4), repeat=2)), rng.randrange(14))
        many += [(h, rel, t) for h, t in ends]
    rng.shuffle(many)
    expected = sharing(many, 0.7, 3)
    assert min(map(len, expected.values())) > 3
    found = leakage.relation_pairs(triples(many), 4, 160, 0.7, 3, 7)
    for kind, pairs in expected.items():
        assert found[kind].total == len(pairs)
        assert list(found[kind].most) == pairs[:7]


def test_of_equal_pairs_few_are_sorted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 40 relations with the same pairs: 1560 equal candidates.
    same = [(h, rel, h + 1) for rel in range(40) for h in range(6)]
    sizes = []
    sort = sorted

    def counted(values: Any, **options: Any) -> Any:
        values = list(values)
        sizes.append(len(values))
        return sort(values, **options)

    monkeypatch.setattr(leakage, 'sorted', counted, raising=False)
    found = leakage.relation_pairs(triples(same), 8, 40, 0.8, 3, 5)
    assert found['repeated'].total == 1560
    pairs = [(pair.first, pair.second) for pair in found['repeated'].most]
    assert pairs == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]
    assert max(sizes) <= 10


def test_a_pair_of_every_relation_takes_little_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Together they meet at 4,000,000 places, 32 MB of ids of one kind.
    rels, own = 2000, 4
    monkeypatch.setattr(leakage, 'BLOCK', 1 << 16)
    many = [(0, rel, 1) for rel in range(rels)]
    many += [
        (2 + rel, rel, 3 + rel + at)
        for rel in range(rels)
        for at in range(own)
    ]
    part = triples(many)
    tracemalloc.start()
    try:
        found = leakage.relation_pairs(part, rels + own + 2, rels, 0.8)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [pairs.total for pairs in found.values()] == [0, 0, 0]
    assert peak < 16_000_000


def test_blocks_hold_every_row_once() -> None:
    rng = np.random.default_rng(0)
    for high in (1, 5, 3 * leakage.BLOCK):
        work = rng.integers(0, high, 50)
        blocks = list(leakage._blocks(work))
        rows = [row for block in blocks for row in range(50)[block]]
        assert rows == list(range(50))
        for block in blocks:
            part = work[block]
            assert part.sum() <= leakage.BLOCK + part[0]
    assert list(leakage._blocks(np.array([], int))) == []


def test_more_triples_than_64_bits_number() -> None:
    part = triples([(0, 0, 1)])
    assert leakage.triple_codes(part, 2**31, 2).tolist() == [1]
    with pytest.raises(ValueError, match=r'2,147,483,648 entities and 3 rel'):
        leakage.triple_codes(part, 2**31, 3)


def test_relations_in_the_report() -> None:
    ring = [(i, 0, (i + 1) % ENTITIES) for i in range(ENTITIES)]
    # A part of the ring again, in two other relations, and a symmetric one.
    rows = ring + [(t, 1, h) for h, _, t in ring[:6]]
    rows += [(h, 3, t) for h, _, t in ring[:10]]
    rows += [(0, 2, 5), (5, 2, 0), (0, 2, 6), (6, 2, 0), (1, 2, 8), (8, 2, 1)]
    report = report_of({'train': rows, 'val': [], 'test': []})
    section = report.sections['relations that repeat or reverse others']
    assert section.facts == {'symmetric': 1, 'reversed': 2, 'repeated': 1}
    told = [
        (row['kind'], row['relation'], row['other'], row['pairs'])
        for row in section.relations
    ]
    assert told == [
        ('symmetric', 'r2', 'r2', 6),
        ('reversed', 'r1', 'r0', 6),
        ('reversed', 'r1', 'r3', 6),
        ('repeated', 'r3', 'r0', 10),
    ]
    text = str(report)
    assert '  r2 is symmetric: 6 pairs, 100 %\n' in text
    line = 'r3 is repeated in r0: 10 pairs, 100 % of its own, 77 % of the oth'
    assert line in text


def test_what_train_lacks_and_self_loops(rows: dict[str, Rows]) -> None:
    report = report_of(rows)
    facts = report['not in train']
    seen = {x for h, _, t in rows['train'] for x in (h, t)}
    used = {r for _, r, _ in rows['train']}
    for split in ('val', 'test'):
        part = rows[split]
        new = {x for h, _, t in part for x in (h, t)} - seen
        assert facts[f'entities of {split}'] == len(new)
        count = sum(bool({h, t} & new) for h, _, t in part)
        assert facts[f'triples of {split} with such'] == count
        lacking = {r for _, r, _ in part} - used
        assert facts[f'relations of {split}'] == len(lacking)
    assert report['self loops'] == {
        split: sum(h == t for h, _, t in rows[split]) for split in SPLITS
    }


def test_structure(rows: dict[str, Rows]) -> None:
    facts = report_of(rows)['structure']
    everything = [row for split in SPLITS for row in rows[split]]
    ends = {x for h, _, t in everything for x in (h, t)}
    assert facts['entities in no triple'] == ENTITIES - len(ends)
    # Union by repeated relabelling.
    label = {x: x for h, _, t in rows['train'] for x in (h, t)}
    for _ in label:
        for h, _, t in rows['train']:
            label[h] = label[t] = min(label[h], label[t])
    sizes = Counter(label.values())
    assert facts['connected parts of train'] == len(sizes)
    assert facts['entities in the largest part'] == max(sizes.values())
    kinds: Counter[str] = Counter()
    for rel in {r for _, r, _ in rows['train']}:
        pairs = {(h, t) for h, r, t in rows['train'] if r == rel}
        heads = len({h for h, _ in pairs})
        tails = len({t for _, t in pairs})
        left = 'N' if len(pairs) / tails > 1.5 else '1'
        kinds[f'{left}-{"N" if len(pairs) / heads > 1.5 else "1"}'] += 1
    for name in ('1-1', '1-N', 'N-1', 'N-N'):
        assert facts[f'{name} relations'] == kinds[name]


def test_sizes_and_coverage(rows: dict[str, Rows]) -> None:
    report = report_of(rows)
    assert report['sizes'] == {
        'entities': ENTITIES,
        'relations': RELATIONS,
        **{split: len(rows[split]) for split in SPLITS},
    }
    assert report['coverage'] == {
        'texts': 3,
        'entities with text': 3,
        'share with text': 3 / 13,
        'images': 0,
        'entities with image': 0,
        'share with image': 0.0,
        'entities with a description': 1,
    }


def test_examples_name_file_and_line(rows: dict[str, Rows]) -> None:
    report = report_of(rows)
    section = report.sections['overlaps between splits']
    leaks = [
        at for at, row in enumerate(rows['val']) if row in set(rows['train'])
    ]
    first = section.examples[0]
    head, rel, tail = rows['val'][leaks[0]]
    there = rows['train'].index(rows['val'][leaks[0]]) + 7
    assert (first.file, first.line) == ('val.tsv', leaks[0] + 7)
    assert first.message == (
        f'val in train: e{head} | r{rel} | e{tail}, also in train.tsv:{there}'
    )
    again = report.sections['duplicates within a split'].examples[-1]
    assert again.file is not None
    assert again.line is not None
    part = rows[again.file.removesuffix('.tsv')]
    assert part[again.line - 7] in part[: again.line - 7]


def test_without_origins_there_are_no_places() -> None:
    raw = raw_graph(draw(0))
    raw.origins = {}
    report = audit_raw(raw, 'random')
    section = report.sections['overlaps between splits']
    assert section.examples[0].file is None
    assert 'also in' not in section.examples[0].message
    assert report['overlaps between splits']['val in train, rows']
    # A file whose lines nobody counted.
    nowhere = torch.zeros(999, dtype=torch.long)
    raw.origins = dict.fromkeys(('train', 'val'), Origin(Path('a'), nowhere))
    report = audit_raw(raw, 'random')
    first = report.sections['overlaps between splits'].examples[0]
    assert (first.file, first.line) == ('a', None)
    assert first.message.endswith(', also in a')


def test_a_clean_graph_is_ok() -> None:
    ring = [(i, i % 2, (i + 1) % ENTITIES) for i in range(ENTITIES)]
    rows = {'train': ring, 'val': [(0, 0, 5)], 'test': [(1, 1, 7)]}
    report = report_of(rows)
    assert report.ok
    assert report.problems == []
    assert str(report).endswith('problems: none')
    rows['test'] = []
    assert report_of(rows).problems == ['split test is empty']


def test_few_reversed_pairs_are_no_problem() -> None:
    ring = [(i, i % 2, (i + 1) % ENTITIES) for i in range(ENTITIES)]
    test = [(i, 0, (i + 2) % ENTITIES) for i in range(ENTITIES - 1)]
    rows = {'train': ring, 'val': [(0, 0, 5)], 'test': [*test, (1, 0, 0)]}
    assert report_of(rows).ok
    rows['test'].append((2, 0, 1))
    assert report_of(rows).problems == [
        '2 of 14 test pairs are reversed in train'
    ]


def test_an_empty_graph() -> None:
    report = report_of({'train': [], 'val': [], 'test': []})
    assert report['structure']['connected parts of train'] == 0
    assert report['structure']['entities in no triple'] == ENTITIES
    assert len(report.problems) == 4
    assert isinstance(str(report), str)


def test_the_report_is_text_and_json(rows: dict[str, Rows]) -> None:
    report = report_of(rows)
    value = json.loads(json.dumps(report.to_json()))
    assert value['dataset'] == 'random'
    assert value['ok'] is False
    assert value['problems'] == report.problems
    facts = {
        title: section['facts'] for title, section in value['sections'].items()
    }
    assert facts == {title: report[title] for title in report.sections}
    assert len(json.dumps(value)) < 12_000
    text = str(report)
    assert f'problems: {len(report.problems)}' in text
    assert all(title in text for title in report.sections)
    assert re.search(r'^  share with text +23\.1 %$', text, re.M)
    assert '/data/' not in text + json.dumps(value)


def test_components_agree_with_networkx() -> None:
    train = triples(draw(1)['train'])
    graph = nx.DiGraph(train.edge_index.t().tolist())
    wanted = sorted(map(len, nx.weakly_connected_components(graph)))[::-1]
    assert leakage.component_sizes(train) == wanted


def folder(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name.replace('__', '.')
        path.write_text(content, encoding='utf-8')
    return root


def test_unreadable_images(tmp_path: Path) -> None:
    root = folder(tmp_path, train__tsv='a\tr\tb\nb\tr\tc\n')
    (root / 'images').mkdir()
    Image.new('RGB', (4, 4)).save(root / 'images' / 'a.png')
    (root / 'images' / 'b.jpg').write_text('no image')
    (root / 'images' / 'c.png').touch()
    dataset = MKGFolder(root, split=(1, 0, 0))
    report = audit(dataset)
    assert report['images'] == {'image files': 3, 'unreadable': 2}
    assert '2 images cannot be read' in report.problems
    examples = report.sections['images'].examples
    assert [each.file for each in examples] == ['images/b.jpg', 'images/c.png']
    assert 'empty' in examples[1].message
    assert 'images' not in audit(dataset, images=False).sections


def test_an_image_without_permission_is_a_line_of_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path, train__tsv='a\tr\tb\nb\tr\tc\n')
    (root / 'images').mkdir()
    for name in ('a.png', 'b.png'):
        Image.new('RGB', (4, 4)).save(root / 'images' / name)
    dataset = MKGFolder(root, split=(1, 0, 0))

    def refuses(path: Path) -> Image.Image:
        if path.name == 'b.png':
            raise PermissionError(13, 'Permission denied')
        return Image.open(path)

    monkeypatch.setattr('dsom_pyg.audit.checks.open_image', refuses)
    report = audit(dataset)
    assert report['images'] == {'image files': 2, 'unreadable': 1}
    (example,) = report.sections['images'].examples
    assert example.file == 'images/b.png'
    assert 'Permission denied' in example.message


class Opens:
    name = 'opens'
    out_channels = 1

    def __call__(self, items: Sequence[Any]) -> torch.Tensor:
        return torch.tensor([[float(open_image(x).width)] for x in items])


def test_what_encoding_noticed(tmp_path: Path) -> None:
    root = folder(tmp_path, train__tsv='a\tr\tb\nb\tr\tc\n')
    (root / 'images').mkdir()
    Image.new('RGB', (4, 4)).save(root / 'images' / 'a.png')
    (root / 'images' / 'b.jpg').write_text('no image')
    options: dict[str, Any] = {'image_encoder': Opens(), 'split': (1, 0, 0)}
    sound = tmp_path / 'sound.safetensors'
    save_features(sound, torch.ones(3, 2), ['a', 'b', 'z'])
    with pytest.warns(UserWarning, match='1 of 2 images cannot be read'):
        dataset = MKGFolder(root, features={'sound': sound}, **options)
    report = audit(dataset)
    facts = report['coverage']
    assert facts['share with image'] == 2 / 3
    assert facts['share with image, in the dataset'] == 1 / 3
    assert facts['share with sound, in the dataset'] == 2 / 3
    assert facts['share with text, in the dataset'] == 0
    assert report['noticed while reading'] == {
        'unreadable image': 1,
        'feature of no entity': 1,
    }
    # Each problem is told once.
    found = [each for each in report.problems if 'split' not in each]
    assert found == ['1 images cannot be read', 'feature of no entity: 1']
    text = str(report)
    assert re.search(r'share with sound, in the dataset +66\.7 %', text)
    assert "sound.safetensors: 'z'" in text
    report = audit(dataset, images=False)
    assert 'unreadable image: 1' in report.problems
    # What both noticed is counted once.
    folder(root, train__tsv='a\tr\tb\nb\tr\tc\nb\tr\tc\n')
    with pytest.warns(UserWarning, match='cannot be read'):
        report = audit(MKGFolder(root, **options))
    assert report['noticed while reading']['duplicate triple'] == 1


def test_files_with_names_that_are_not_utf8(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / 'mine'
    (root / 'images' / 'a').mkdir(parents=True)
    folder(root, train__tsv='a\tr\tb\nb\tr\tc\n')
    try:
        for name in (b'a/caf\xe9.jpg', b'\xe9.jpg', b'\xe9.txt'):
            (root / 'images' / os.fsdecode(name)).touch()
    except OSError:
        pytest.skip('this file system has UTF-8 names only')
    dataset = MKGFolder(root, split=(1, 0, 0))
    report = audit(dataset)
    text = str(report)
    assert r'- images/\udce9.jpg: neither its name' in text
    assert r'- images/a/caf\udce9.jpg: ' in text
    value = json.dumps(report.to_json(), ensure_ascii=False)
    for each in (text, value, str(dataset.findings)):
        assert each.encode().isascii()
    root = root.rename(tmp_path / os.fsdecode(b'caf\xe9'))
    out = tmp_path / 'report.json'
    assert main([str(root), '--json', str(out)]) == 0
    assert capsys.readouterr().out.startswith('caf\\udce9\n')
    assert out.exists()


# Clears a screen; the same in one byte; goes back; hides; starts a line; and
# turns round.
CODES = '\x1b[2J\x9b2J\r\x08\x7f\u2028\u202e'


def test_names_with_terminal_codes_are_shown_as_escapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / f'mine{CODES}'
    (root / 'images').mkdir(parents=True)
    pairs = [(f'{x}{CODES}é', f'{y}{CODES}é') for x in 'abc' for y in 'de']
    rows = [f'{h}\tr{CODES}\t{t}' for h, t in pairs]
    rows += [f'{t}\ts{CODES}\t{h}' for h, t in pairs]
    lines = '\n'.join(row.replace('\r', '') for row in rows)
    folder(root, train__tsv=lines, test__tsv=lines.split('\n')[0])
    (root / 'images' / f'{CODES}.png').touch()
    (root / 'images' / f'{CODES}.txt').touch()
    out = tmp_path / 'report.json'
    main([str(root), '--json', str(out)])
    shown, file = capsys.readouterr().out, out.read_text()
    for text in (shown, file):
        assert all(c.isprintable() or c == '\n' for c in text)
        assert 'é' in text
    title, line, *_ = shown.split('\n')
    assert title == 'mine' + ascii(CODES)[1:-1]
    assert line == '=' * len(title)
    assert 'is reversed in' in shown
    assert r'a\x1b[2J\x9b2J\x08' in shown
    # A file of JSON keeps the names as they are.
    report = json.loads(file)
    assert report['dataset'] == root.name
    sections = report['sections']
    named = sections['relations that repeat or reverse others']['relations']
    assert named[0]['relation'] == 'r' + CODES.replace('\r', '')
    folder(root, train__tsv=f'a{CODES}\tb\n')
    assert main([str(root)]) == 2
    error = capsys.readouterr().err
    assert error.removesuffix('\n').isprintable()
    assert r'train.tsv:1: expected 3 columns' in error


def test_every_error_of_the_command_is_shown_as_escapes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def lacks(root: Path, reading: object) -> None:
        raise ImportError(f'{root} needs pyoxigraph')

    monkeypatch.setattr('dsom_pyg.audit.report.read_folder', lacks)
    (root := tmp_path / CODES).mkdir()
    assert main([str(root)]) == 2
    error = capsys.readouterr().err.removesuffix('\n')
    assert error.isprintable()
    assert error.endswith('needs pyoxigraph')


def test_images_elsewhere_are_told_and_no_problem(tmp_path: Path) -> None:
    root = tmp_path / 'mine'
    (tmp_path / 'disk').mkdir()
    root.mkdir()
    rows = ''.join(f'{i}\tr\t{(i + 1) % 9}\n' for i in range(9))
    folder(root, train__tsv=rows, val__tsv='0\tr\t3\n', test__tsv='0\tr\t4\n')
    (root / 'images').symlink_to(tmp_path / 'disk')
    report = audit(MKGFolder(root))
    assert report.ok
    told = report.sections['noticed while reading'].examples
    assert [(each.kind, each.file) for each in told] == [
        ('images elsewhere', 'images')
    ]
    assert str(tmp_path / 'disk') in str(report)


def test_what_reading_noticed(tmp_path: Path) -> None:
    content = 'head\trelation\ttail\na\tr\tb\na\tr\tb\nb\tr\tb\nA\tr\tb\n'
    root = folder(tmp_path, train__tsv=content, test__tsv='a\tr\tb\n')
    with pytest.warns(UserWarning, match='also in train'):
        dataset = MKGFolder(root, split=(0.9, 0, 0.1))
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        report = audit(dataset)
    assert report['noticed while reading'] == {
        'header': 1,
        'duplicate triple': 1,
        'self loop': 1,
        'case twins': 1,
        'test triple also in train': 1,
    }
    assert report.problems == [
        'split val is empty',
        '1 of 1 distinct test triples are in train',
        'duplicate triple: 1',
        'case twins: 1',
    ]
    text = str(report)
    assert '- train.tsv:3: dropped' in text
    assert (
        '- test.tsv:1: test in train: a | r | b, also in train.tsv:2' in text
    )
    assert str(tmp_path) not in text.replace(report.name, '')


def test_every_dataset_can_be_audited() -> None:
    report = audit(FakeMMKG(), images=False)
    assert report.name == 'FakeMMKG'
    assert report['not in train']['entities of test'] == 1
    assert report['structure']['entities in the largest part'] == 19
    assert report['coverage']['entities with image'] == 18


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ''.join(
        f'n{i}\tr\tn{(i + k) % 9}\n' for i in range(9) for k in (1, 2)
    )
    root = tmp_path / 'mine'
    root.mkdir()
    folder(root, triples__tsv=rows)
    before = sorted(root.rglob('*'))
    assert main([str(root), '--strict', '--no-images']) == 0
    text = capsys.readouterr().out
    assert '\nimages\n' not in text
    assert text.startswith('mine\n====\n')
    assert 'problems: none' in text
    assert sorted(root.rglob('*')) == before
    folder(root, triples__tsv=rows + 'n0\tr\tn1\n')
    out = tmp_path / 'report.json'
    assert main([str(root), '--json', str(out)]) == 0
    assert main([str(root), '--strict']) == 1
    value = json.loads(out.read_text())
    assert value['problems'] == ['duplicate triple: 1']
    assert 'images' in value['sections']
    assert value['sections']['noticed while reading']['examples'][0] == {
        'kind': 'duplicate triple',
        'message': "dropped 'n0' | 'r' | 'n1', which stands in line 1",
        'file': 'triples.tsv',
        'line': 19,
    }
    capsys.readouterr()
    folder(root, triples__tsv='a\tb\n')
    assert main([str(root)]) == 2
    seen = capsys.readouterr()
    assert seen.out == ''
    assert seen.err.startswith('error: ')
    assert 'triples.tsv:1: expected 3 columns' in seen.err


@pytest.mark.skipif(
    MIRROR is None, reason='no mirror: DSOM_PYG_MIRROR names no folder'
)
def test_golden_benchmarks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('DSOM_PYG_MIRROR', str(MIRROR))
    with pytest.warns(UserWarning, match='leaks'):
        db15k: Any = DB15K(tmp_path / 'DB15K', split='distributed')
    report = audit(db15k)
    assert report['sizes']['val'] == 9904
    facts = report['overlaps between splits']
    assert facts['val, distinct'] == 7481
    assert facts['val in train, distinct'] == 6584
    assert facts['val in test, distinct'] == 824
    assert facts['val in neither, distinct'] == 73
    assert facts['test in train, distinct'] == 0
    assert report['duplicates within a split'] == {
        'train': 0,
        'val': 9904 - 7481,
        'test': 0,
    }
    assert report['not in train']['entities of test'] == 57
    assert not report.ok
    report = audit(WN9(tmp_path / 'WN9'))
    assert report['sizes']['test'] == 1319
    facts = report['pairs known from train']
    assert facts['test, reversed in train'] == 1186
    assert report.problems == [
        '1,186 of 1,319 test pairs are reversed in train'
    ]


def test_the_command_reads_as_training_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f'a{at % 7}\tb{at % 5}\tr\n' for at in range(40)]
    rows += [f'a{at % 7}\t{at}\tsize\n' for at in range(9)]
    (tmp_path / 'triples.tsv').write_text(''.join(rows))
    words = [str(tmp_path), '--columns', 'htr']
    assert main(words) == 0
    assert 'relations                                              1' in (
        capsys.readouterr().out
    )
    assert main([*words, '--literals', 'keep']) == 0
    assert 'relations                                              2' in (
        capsys.readouterr().out
    )
    for wrong in (['--columns', 'hh'], ['--literals', 'drop']):
        assert main([str(tmp_path), *wrong]) == 2
        assert wrong[1] in capsys.readouterr().err


def test_the_command_takes_a_benchmark(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / 'report.json'
    assert main(['Countries', '--no-images', '--json', str(out)]) == 0
    data = Countries()[0]
    sections = json.loads(out.read_text())['sections']
    assert sections['sizes']['facts']['entities'] == num_entities(data)
    assert 'images' not in sections
    assert 'warning' not in capsys.readouterr().err
    assert main(['Country']) == 2
    assert "did you mean 'Countries'?" in capsys.readouterr().err


def test_a_folder_from_python(tmp_path: Path) -> None:
    root = folder(tmp_path, train__tsv='r\ta\tb\n', test__tsv='r\tb\ta\n')
    report = audit_folder(str(root), columns='rht')
    assert report['sizes']['relations'] == 1
    assert report['pairs known from train']['test, reversed in train'] == 1
    report.save(out := tmp_path / 'report.json')
    assert json.loads(out.read_text()) == report.to_json()
    assert sorted(x.name for x in root.iterdir()) == [
        'report.json',
        'test.tsv',
        'train.tsv',
    ]
    with pytest.raises(ValueError, match='literals must be one of'):
        audit_folder(root, literals='drop')


def test_a_report_into_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root := tmp_path / 'graph').mkdir()
    assert main([str(root), '--json', str(tmp_path / 'no/x.json')]) == 2
    assert f"there is no folder '{tmp_path / 'no'}'" in capsys.readouterr().err
    assert main([str(root), '--json', str(tmp_path)]) == 2
    assert f"'{tmp_path}' is a folder; name a file" in capsys.readouterr().err


def test_self_loops_are_not_reversed() -> None:
    loops = [(i, 0, i) for i in range(4)]
    line = [(i, 1, i + 1) for i in range(ENTITIES - 1)]
    rows = {'train': [*line, *loops], 'val': [(0, 0, 5)], 'test': loops}
    facts = report_of(rows)['pairs known from train']
    assert facts['test, reversed in train'] == 0


def test_a_terminal_without_signs_for_a_name(tmp_path: Path) -> None:
    (root := tmp_path / '名前').mkdir()
    folder(root, train__tsv='c\tr\ta\na\tr\tb')
    out = tmp_path / 'report.json'
    done = subprocess.run(
        [sys.executable, '-m', 'dsom_pyg', 'audit', root, '--json', out],
        env={
            **os.environ,
            'PYTHONIOENCODING': 'cp1252',
            'PYTHONPATH': os.pathsep.join(sys.path),
        },
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(rb'\u540d\u524d')
    assert json.loads(out.read_text(encoding='utf-8'))['dataset'] == '名前'


def test_a_report_for_which_no_file_can_be(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (root := tmp_path / 'mine').mkdir()
    folder(root, train__tsv='a\tr\tb')

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, 'no room')

    monkeypatch.setattr(Path, 'write_text', full)
    assert main([str(root), '--json', str(tmp_path / 'x.json')]) == 2
    said = capsys.readouterr()
    assert said.out.startswith('mine')
    assert 'the disk is full' in said.err
    assert not (tmp_path / 'x.json').exists()
