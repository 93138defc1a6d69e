"""The command, in one process or in several by torchrun.

python command.py FOLDER WORDS...
"""

import sys

from dsom_pyg.cli.main import main

sys.argv = ['dsom-pyg', *sys.argv[2:]]
main()
