"""Models on the Hugging Face hub: the files of a folder, and a card."""

import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dsom_pyg.completion.card import model_card
from dsom_pyg.completion.store import (
    GRAPH,
    MANIFEST,
    STUDENT,
    TEACHERS,
    Parts,
    save_parts,
)

CARD = 'README.md'
# Nothing else goes there or comes from there.
FILES = [MANIFEST, STUDENT, GRAPH, TEACHERS, CARD]
COMMIT = re.compile('[0-9a-f]{40}')


def upload(
    repo_id: str,
    parts: Parts,
    private: bool = True,
    token: str | bool | None = None,
    revision: str | None = None,
    license: str | None = None,
) -> str:
    r"""Upload a model and its card; what is there of an earlier one goes.

    The names, the triples and the texts of the graph are part of it. The
    paths of its images are not: they mean nothing elsewhere.

    Args:
        repo_id: Of the repository, ``'owner/name'``; made if it is not there.
        parts: The model.
        private: Whether a new repository is private; one that is there stays
            as it is.
        token: Of the hub. (default: that of ``hf auth login``)
        revision: The branch; made if it is not there. (default: ``main``)
        license: Of the model, as the hub writes it, such as ``'mit'``; named
            in the card only if it is given.

    Returns:
        The address of the commit.

    Raises:
        OSError: The hub cannot be reached, or it refuses.
    """
    hub = _library()
    api = hub.HfApi(token=token)
    with TemporaryDirectory() as name:
        folder = Path(name)
        save_parts(folder, replace(parts, images=[]))
        card = model_card(repo_id, parts, license, revision)
        (folder / CARD).write_text(card, encoding='utf-8')
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                revision=revision,
                allow_patterns=FILES,
                delete_patterns=[TEACHERS],
                commit_message='Upload a model of dsom_pyg',
            )
        except Exception as error:  # of many kinds
            raise OSError(
                f"cannot upload to '{repo_id}' ({error}); the id is that of a "
                'repository that you may write to, owner/name, and the token '
                'one that may write'
            ) from error
    return str(commit.commit_url)


def download(
    source: str | Path,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
) -> Path:
    r"""A folder of a model: a given one, or a copy of a repository in the
    cache of the hub. Files that are no part of a model stay where they are.

    Args:
        source: A folder, or the id of a repository.
        revision: A branch, tag or commit of a repository.
        cache_dir: The cache. (default: that of huggingface_hub)
        token: Of the hub, for a private repository.

    Raises:
        ValueError: A folder has no revision.
        OSError: There is no such folder, and no such repository that is
            cached or can be downloaded.
    """
    folder = Path(source).expanduser()
    if isinstance(source, Path) or folder.is_dir():
        if revision is not None:
            raise ValueError(
                f"'{source}' is a folder and has no revision {revision!r}; "
                'give the id of a repository, or leave revision out'
            )
        return folder
    hub = _library()
    ask = partial(
        hub.snapshot_download,
        source,
        revision=revision,
        cache_dir=cache_dir,
        token=token,
        allow_patterns=FILES,
    )
    try:
        found = ask()
    except Exception as error:  # of many kinds
        found = _cached(ask, revision)
        if found is None:
            at = '' if revision is None else f' at revision {revision!r}'
            raise OSError(
                f"there is no folder '{source}', and no such repository{at} "
                f'that is cached or can be downloaded ({error})'
            ) from error
    return Path(found)


def _cached(ask: Callable[..., str], revision: str | None) -> str | None:
    # A commit does not change, so its copy needs no network. Releases of the
    # library before 2.2 ask for it all the same.
    if revision is None or not COMMIT.fullmatch(revision):
        return None
    try:
        return ask(local_files_only=True)
    except Exception:
        return None


def _library() -> Any:
    try:
        return importlib.import_module('huggingface_hub')
    except ImportError as error:
        message = 'the hub needs huggingface_hub: pip install huggingface_hub'
        raise ImportError(message) from error
