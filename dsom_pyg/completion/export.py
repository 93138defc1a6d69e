"""Embeddings with their names, for other programs."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsom_pyg.completion.provenance import Provenance
from dsom_pyg.completion.store import Parts, check_apart
from dsom_pyg.completion.vocabulary import Vocabulary
from dsom_pyg.files import hash_file, output, output_tensors
from dsom_pyg.models import Bilinear

# Names in .npz are as wide as the longest one; no more bytes than this.
WIDEST = 2**30


def export(path: str | Path, parts: Parts) -> None:
    r"""Write the embeddings in the format that the ending of the path says.

    - ``.safetensors``: all tensors of the model, and ``names``, the bytes of
      JSON; provenance is in the header. There are ``entities`` ``[E, 2D]`` and
      ``relations``: of ComplEx and DistMult ``[2R, 2D]``, row :math:`r + R`
      being the reciprocal of r. Other models say in their classes what
      relations are, and what else there is, such as the ``core`` of TuckER.
    - ``.npz``: the same arrays, and ``entity_names``, ``entity_keys``,
      ``relation_names`` and ``relation_keys`` as arrays of strings;
      provenance is ``about``, JSON. Nothing in it is pickled.
    - ``.faiss``: an index of inner products over the entities, by id. It is
      exact, so the neighbours of a
      :meth:`query vector <dsom_pyg.completion.Completer.query_vectors>` are
      the best answers. Names and provenance are in ``<name>.faiss.json``.

    Args:
        path: The file.
        parts: The model.

    Raises:
        ValueError: The ending is another, names do not fit the format, or the
            file is a part of a model.
        ImportError: faiss is not installed (extra ``index``).
    """
    path = Path(path).expanduser()
    check_apart(path)
    about: dict[str, str] = Provenance.of(parts)._asdict()
    match path.suffix.lower():
        case '.safetensors':
            _write_safetensors(path, parts, about)
        case '.npz':
            _write_npz(path, parts, about)
        case '.faiss':
            _write_index(path, parts, about)
        case _:
            raise ValueError(
                f"'{path}' must end in .safetensors, .npz (NumPy) or .faiss "
                '(a vector index, with extra index); write_triples, and '
                'dsom-pyg export, write the triples as .tsv or .parquet'
            )


def _tables(parts: Parts) -> dict[str, torch.Tensor]:
    return {
        name: x.detach().cpu().float() if x.is_floating_point() else x.cpu()
        for name, x in parts.student.kept().items()
    }


def _said(parts: Parts) -> dict[str, dict[str, list[str]]]:
    both = {'entities': parts.entities, 'relations': parts.relations}
    return {k: {'names': v.names, 'keys': v.keys} for k, v in both.items()}


def _write_safetensors(
    path: Path, parts: Parts, about: dict[str, str]
) -> None:
    # Not in the header, which has a limit.
    raw = bytearray(json.dumps(_said(parts)).encode())
    names = torch.frombuffer(raw, dtype=torch.uint8)
    output_tensors(path, {**_tables(parts), 'names': names}, about)


def _write_npz(path: Path, parts: Parts, about: dict[str, str]) -> None:
    arrays = {
        **{k: v.numpy() for k, v in _tables(parts).items()},
        'entity_names': _strings(parts.entities, parts.entities.names),
        'entity_keys': _strings(parts.entities, parts.entities.keys),
        'relation_names': _strings(parts.relations, parts.relations.names),
        'relation_keys': _strings(parts.relations, parts.relations.keys),
        'about': np.array(json.dumps(about)),
    }
    with output(path) as temporary, temporary.open('wb') as file:
        np.savez(file, **arrays)


def _strings(vocabulary: Vocabulary, words: list[str]) -> Any:
    longest = max(words, key=len)
    if 4 * len(longest) * len(words) > WIDEST:
        raise ValueError(
            f'every name in .npz takes as much room as the longest one, and '
            f'that of one {vocabulary.what} has {len(longest):,} characters; '
            'export .safetensors'
        )
    out = np.array(words, dtype=np.str_)
    if out.tolist() != words:
        raise ValueError(
            f'the name of one {vocabulary.what} ends in a zero character, '
            'which .npz would cut off; export .safetensors'
        )
    return out


def _write_index(path: Path, parts: Parts, about: dict[str, str]) -> None:
    try:
        # Its own types do not know all of it.
        faiss = import_module('faiss')
    except ImportError as error:
        message = 'a vector index needs faiss: pip install "dsom_pyg[index]"'
        raise ImportError(message) from error
    if not isinstance(parts.student, Bilinear):
        raise ValueError(
            'an index finds the highest products, and the scores of a '
            f'{type(parts.student).__name__} are none; export .safetensors'
        )
    entities = _tables(parts)['entities'].numpy()
    index = faiss.IndexFlatIP(entities.shape[1])
    index.add(entities)
    with (
        output(path.with_name(f'{path.name}.json')) as beside,
        output(path) as temporary,
    ):
        with temporary.open('wb') as file:
            # Python's file tells why it cannot be written.
            writer = faiss.PyCallbackIOWriter(file.write)
            faiss.write_index(index, writer)
        # So that nobody takes one for the names of another index.
        said = {**about, 'sha256': hash_file(temporary), **_said(parts)}
        beside.write_text(f'{json.dumps(said)}\n', encoding='utf-8')
