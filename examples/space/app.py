"""The site of a model, for anybody who comes: search, ask, see why.

    DSOM_MODEL=owner/name python app.py         # or the folder of a model

On the Hub, a Space says its own name in ``SPACE_HOST``; elsewhere the site
answers to this machine alone.
"""

import os
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from dsom_pyg import Completer
from dsom_pyg.pages.site import make_app

PORT = int(os.environ.get('PORT', '7860'))


def site() -> FastAPI:
    """The model by its name, and its site, on which nobody decides."""
    name = os.environ.get('DSOM_MODEL', '')
    if not name:
        raise SystemExit('name a model: DSOM_MODEL=owner/name')
    known = Path(name).is_dir()
    load = Completer.load if known else Completer.from_pretrained
    try:
        model = load(name)
    except (ValueError, OSError) as error:
        raise SystemExit(f'error: {error}') from error
    host = os.environ.get('SPACE_HOST')
    return make_app(model, port=PORT, public=[host] if host else [])


if __name__ == '__main__':
    where = '0.0.0.0' if 'SPACE_HOST' in os.environ else '127.0.0.1'
    uvicorn.run(site(), host=where, port=PORT, log_level='warning')
