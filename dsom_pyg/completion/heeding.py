"""A model that heeds what people have decided since its training."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from dsom_pyg.completion.explaining import counted_anew
from dsom_pyg.completion.knowledge import Knowledge
from dsom_pyg.completion.proposals import Odds
from dsom_pyg.completion.review import Judged, reviewed
from dsom_pyg.completion.store import Parts
from dsom_pyg.completion.suspects import Suspicion
from dsom_pyg.graph import Triples, add_reciprocals, concat, within
from dsom_pyg.kg import KG


def heeding(knowledge: Knowledge, judged: Judged, odds: Odds) -> Parts:
    r"""What a model is made of, after decisions: what people accepted is
    known, what they rejected is not. Those of before hold as well, as far as
    nobody has decided otherwise since.

    Args:
        knowledge: What the model knows, and is made of.
        judged: The decisions.
        odds: How often proposals come true by them, see :func:`odds_by`.
    """
    parts = knowledge.parts
    rejected = judged.rejected
    if parts.rejected is not None:
        old = parts.rejected
        old = old.select(~within(old, concat(*judged)))
        rejected = concat(old, rejected)
    accepted = judged.accepted
    accepted = accepted.select(~knowledge.has(accepted))
    if parts.accepted is not None:
        accepted = concat(parts.accepted, accepted)
    removed = parts.graph.triples('train')
    removed = removed.select(within(removed, judged.rejected))
    if parts.accepted is not None:
        removed = removed.select(~within(removed, parts.accepted))
    if parts.removed is not None:
        removed = concat(parts.removed, removed)
    graph, teachers = KG(reviewed(parts.graph, judged).triple_graph), None
    if parts.teachers is not None:
        teachers = counted_anew(parts.teachers, graph, {})
    return replace(
        parts,
        graph=graph,
        teachers=teachers,
        rejected=rejected,
        accepted=accepted,
        removed=removed,
        suspicion=_undecided(parts.suspicion, judged),
        about={**parts.about, 'heeded': True},
        odds=odds,
    )


def _undecided(found: Suspicion | None, judged: Judged) -> Suspicion | None:
    if found is None:
        return None
    return found.select(~within(found.triples, judged.decided))


def odds_by(
    knowledge: Knowledge,
    judged: Judged,
    claims: Mapping[tuple[int, int, int], float],
) -> Odds:
    r"""How often proposals come true, by decisions about them.

    Args:
        knowledge: What the model knows that made them.
        judged: The decisions.
        claims: What the model claims of their triples, see
            :meth:`~dsom_pyg.completion.Completer.claims`.
    """
    size = knowledge.graph.num_relations
    wrong = judged.rejected.select(knowledge.has(judged.rejected))
    wrong = add_reciprocals(wrong, size)
    answers = knowledge.known.lookup(wrong.head, wrong.edge_type)
    wrong = wrong.select(answers.count(len(wrong.edge_type)) == 1)
    ends, links = wrong.head.tolist(), wrong.edge_type.tolist()
    corrected = {*zip(ends, links, strict=True)}
    # What takes the place of the only answer, which was wrong, says nothing
    # of what is lacking.
    told = {
        (h, r, t): claim
        for (h, r, t), claim in claims.items()
        if not {(h, r), (t, r + size)} & corrected
    }
    every = Triples.of(told)
    true = within(every, judged.accepted)
    decided = true | within(every, judged.rejected)
    claimed = torch.tensor([*told.values()])
    return knowledge.parts.odds.heeding(claimed[decided], true[decided])
