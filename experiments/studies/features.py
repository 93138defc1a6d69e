"""Who is to encode texts, and how are their features to enter?

Teachers of texts, and of structure and texts, each alone, with the longer
texts of each dataset; MKG-Y has titles alone. *Side by side* gives table and
texts coordinates of their own, which each relation weighs apart: half of them
each, or as many as the table has alone. All rows choose a setting: they read
no test triple.
"""

from dataclasses import replace
from functools import partial

from dsom_pyg.models import ComplEx
from dsom_pyg.stages import DECAYING_ADAM
from experiments import encoders, entities
from experiments.table import Row, SingleModel, Table

SHORT = replace(DECAYING_ADAM, epochs=8)
ALONE = SingleModel(
    model=partial(ComplEx, n3=0.01), loop=SHORT, entities=entities.texts
)
JOINT = SingleModel(
    model=partial(ComplEx, n3=0.05),
    loop=SHORT,
    entities=entities.table_and_texts,
)
titles = partial(Row, only_validation=True)
trial = partial(titles, more_texts=True)
ENCODERS = {
    'MiniLM': None,
    'mpnet': encoders.mpnet,
    'MiniLM and mpnet': encoders.minilm_and_mpnet,
    'TF-IDF': encoders.tfidf,
    'MiniLM of descriptions': encoders.minilm_of_descriptions,
    'MiniLM of name and description apart': encoders.minilm_of_parts,
}
WAYS = {
    'unit variance': entities.unit_variance,
    'whitened': entities.whitened,
    'half whitened': partial(entities.whitened, power=0.5),
    'network': entities.network,
    'one hop': entities.near_texts,
}
JOINT_WAYS = {
    'side by side': entities.side_by_side,
    'rare alone': entities.rare_alone,
    'one hop': entities.near_table_and_texts,
}

TABLES = (
    Table(
        ('DB15K', 'MKG_W', 'FB15k_237'),
        (
            *(
                trial(f'{what}, {name}', model, encoder=encoder)
                for name, encoder in ENCODERS.items()
                for what, model in (('texts', ALONE), ('joint', JOINT))
            ),
            *(
                trial(f'texts, {name}', replace(ALONE, entities=way))
                for name, way in WAYS.items()
            ),
            trial(
                'texts, mpnet, one hop',
                replace(ALONE, entities=entities.near_texts),
                encoder=encoders.mpnet,
            ),
            trial(
                'joint, mpnet, one hop',
                replace(JOINT, entities=entities.near_table_and_texts),
                encoder=encoders.mpnet,
            ),
            *(
                trial(f'texts, D = {size}', replace(ALONE, channels=size))
                for size in (128, 512)
            ),
            *(
                trial(f'joint, {name}', replace(JOINT, entities=way))
                for name, way in JOINT_WAYS.items()
            ),
            trial(
                'joint, side by side, D = 512',
                replace(JOINT, entities=entities.side_by_side, channels=512),
            ),
        ),
    ),
    Table(
        ('MKG_Y',),
        (
            *(
                titles(
                    f'texts, {name}',
                    ALONE,
                    encoder=ENCODERS[name],
                )
                for name in ('MiniLM', 'mpnet', 'TF-IDF')
            ),
            *(
                titles(
                    f'texts, {name}',
                    replace(ALONE, entities=WAYS[name]),
                )
                for name in ('unit variance', 'network')
            ),
            titles(
                'texts, D = 512',
                replace(ALONE, channels=512),
            ),
            titles('joint, MiniLM', JOINT),
            *(
                titles(
                    f'joint, {name}',
                    replace(JOINT, entities=JOINT_WAYS[name]),
                )
                for name in ('side by side', 'rare alone')
            ),
            titles(
                'joint, side by side, D = 512',
                replace(JOINT, entities=entities.side_by_side, channels=512),
            ),
        ),
    ),
)
