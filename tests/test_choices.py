"""What a combiner chose, counted by hand."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from dsom_pyg.choices import Choices, bins, choices, entity_types, plot_choices
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import Triples, get_split, pool_features, set_split
from dsom_pyg.kg import KG
from dsom_pyg.teachers import Answers, Combiner, TeacherEnsemble

DATA = FakeMMKG(30, 4, 200)[0]


class TextWherePresent(Combiner):
    """Twice the text where there is one, the structure otherwise."""

    def weights(self, answers: Answers) -> Tensor:
        column = answers.ensemble.modalities.index('text')
        has = answers.available[:, column].float()
        weights = torch.zeros(len(answers), len(answers.ensemble))
        weights[:, 0], weights[:, column] = 1 - has, 2 * has
        return weights


def teachers() -> TeacherEnsemble:
    return TeacherEnsemble.from_features(KG(DATA).features, 30, 4, 8)


class Signed(Combiner):
    """As boosting may weigh them."""

    signed = True

    def weights(self, answers: Answers) -> Tensor:
        each = torch.tensor([0.5, -1.0, 0.5, 0.0])[: len(answers.ensemble)]
        return each.expand(len(answers), -1)


def test_shares_of_weights_that_are_negative(tmp_path: Path) -> None:
    ensemble = teachers()
    chosen = choices(DATA, ensemble, Signed())
    [(_, _, weights)] = chosen.tables['all']
    expected = [0.25, -0.5, 0.25, 0.0][: len(ensemble)]
    assert weights == pytest.approx(expected)
    plot_choices(chosen, tmp_path / 'a.svg')
    # The axis has room for them.
    assert '\u22121.0' in (tmp_path / 'a.svg').read_text()


def test_shares_are_those_of_the_queries(tmp_path: Path) -> None:
    chosen = choices(DATA, teachers(), TextWherePresent(), batch_size=7)
    test = get_split(DATA, 'test')
    asked = {
        (h, r)
        for h, r in zip(
            torch.cat([test.head, test.tail]).tolist(),
            torch.cat([test.edge_type, test.edge_type + 4]).tolist(),
            strict=True,
        )
    }
    present = pool_features(DATA, 'text')[1]
    share = sum(bool(present[h]) for h, _ in asked) / len(asked)
    column = chosen.teachers.index('text')
    [(_, count, weights)] = chosen.tables['all']
    assert count == len(asked)
    assert weights[column] == pytest.approx(share)
    assert sum(weights) == pytest.approx(1.0)
    rows = dict(
        (label, weights)
        for label, _, weights in chosen.tables['the head has text']
    )
    assert rows['yes'][column] == pytest.approx(1.0)
    if 'no' in rows:
        assert rows['no'][0] == pytest.approx(1.0)
    for title in ('side', 'training triples of the head', 'known answers'):
        assert sum(n for _, n, _ in chosen.tables[title]) == len(asked)
    by_type = {row[0]: row[1] for row in chosen.tables['type of the head']}
    types = entity_types(DATA)
    for label, n in by_type.items():
        assert n == sum(types[h] == label for h, _ in asked)
    relations = {label for label, _, _ in chosen.tables['relation']}
    assert '3, heads asked' in relations
    plot_choices(chosen, tmp_path / 'page.png')
    assert (tmp_path / 'page.png').read_bytes()[:4] == b'\x89PNG'


def test_bins_cover_everything_once() -> None:
    value = torch.tensor([0, 1, 1, 3, 4, 9])
    parts = bins(value, (1, 2, 5))
    assert [label for label, _ in parts] == ['0', '1', '2 to 4', '5 and more']
    assert [int(mask.sum()) for _, mask in parts] == [1, 2, 2, 1]


def test_types_are_told_by_a_relation_or_else_by_roles() -> None:
    # 0 and 1 are films, 0 also a Work, as is 4; 2 acts twice, directs once.
    triples = [
        (0, 0, 5),
        (0, 0, 6),
        (1, 0, 5),
        (4, 0, 6),
        (7, 0, 6),
        (0, 1, 2),
        (1, 1, 2),
        (1, 2, 2),
    ]
    data = HeteroData()
    data['entity'].num_nodes = 9
    store = data['entity', 'relation', 'entity']
    heads, store.edge_type, tails = torch.tensor(triples).t()
    store.edge_index = torch.stack([heads, tails])
    store.num_relations = 3
    relations = ['is_a', 'actor', 'director']
    entities = ['a', 'b', 'c', 'd', 'e', 'Film', 'Work', 'f', 'g']
    unseen = 'in no training triple'
    assert entity_types(data, relations, 'is_a', entities) == [
        'Work',
        'Film',
        'tail of actor',
        unseen,
        'Work',
        'tail of is_a',
        'tail of is_a',
        'Work',
        unseen,
    ]
    # Equally frequent roles: the first one by name.
    assert entity_types(data, relations)[:3] == [
        'head of is_a',
        'head of actor',
        'tail of actor',
    ]
    assert entity_types(data)[3:5] == [unseen, 'head of 0']
    with pytest.raises(ValueError, match="'type'"):
        entity_types(data, relations, 'type')


def test_names_are_counted_and_drawn_as_they_are(tmp_path: Path) -> None:
    ensemble = teachers()
    types = ['a$b_{$'] * 30
    chosen = choices(DATA, ensemble, TextWherePresent(), types=types)
    assert [row[0] for row in chosen.tables['type of the head']] == ['a$b_{$']
    plot_choices(chosen, tmp_path / 'page.svg')
    assert 'a$b_{$' in (tmp_path / 'page.svg').read_text()
    for words in ({'types': types[:3]}, {'relation_names': ['one']}):
        with pytest.raises(ValueError, match=r'must be \d+ names, got \d'):
            choices(DATA, ensemble, TextWherePresent(), **words)  # type: ignore[arg-type]
    data = DATA.clone()
    empty = Triples(torch.empty(2, 0).long(), torch.empty(0).long())
    set_split(data, 'val', empty)
    with pytest.raises(ValueError, match='top must be positive, got 0'):
        choices(DATA, ensemble, TextWherePresent(), top=0)
    with pytest.raises(ValueError, match="split 'val' has no triples"):
        choices(data, ensemble, TextWherePresent(), 'val')


def test_rows_of_one_label_have_bars_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(
        'matplotlib.figure.Figure.savefig',
        lambda figure, path: drawn.append(figure),
    )
    rows = [('Springfield', 3, [1.0, 0.0]), ('Springfield', 3, [0.4, 0.6])]
    chosen = Choices(['structure', '_text'], {'entities': rows})
    plot_choices(chosen, tmp_path / 'page.svg')
    (legend,) = drawn[0].legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ['structure', '_text']
    (panel,) = drawn[0].axes
    middles = [x.get_y() + x.get_height() / 2 for x in panel.patches]
    assert middles == pytest.approx([0, 1, 0, 1])
    widths = [x.get_width() for x in panel.patches]
    assert widths == pytest.approx([1.0, 0.4, 0.0, 0.6])
    labels = [x.get_text() for x in panel.get_yticklabels()]
    assert labels == ['Springfield (3)'] * 2
