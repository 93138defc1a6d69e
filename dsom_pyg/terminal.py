"""Where commands print. Nothing of this library is imported here."""

import io
import sys


def escape_what_cannot_be_shown() -> None:
    r"""Let standard output show escapes for letters that its encoding has no
    signs for, as that of a terminal on Windows, rather than end a command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
