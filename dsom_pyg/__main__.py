"""The command, where its folder is not on the path: ``python -m dsom_pyg``."""

from dsom_pyg.cli.main import main

if __name__ == '__main__':
    main()
