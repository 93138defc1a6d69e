"""The ways in which files spell the name of an entity."""

import unicodedata
from urllib.parse import quote


def spellings(name: str) -> list[str]:
    r"""What a file or folder may call an entity, the name itself first.

    File systems know no slash within a name, people write underscores for
    spaces, and ``/m/02mjmr`` is found as ``m.02mjmr`` or ``m_02mjmr``.
    """
    name = unicodedata.normalize('NFC', name)
    bare = name.strip('/')
    out = [name, bare]
    for mark in ('.', '_'):
        out.append(bare.replace('/', mark))
        out.append(bare.replace('/', mark).replace(' ', '_'))
    out += [quote(name, safe=''), quote(bare, safe='')]
    return list(dict.fromkeys(out))
