"""Starts the command line, in .venv, which is made if need be."""

import sys

from core.ops import bootstrap

if __name__ == "__main__":
    bootstrap.ensure([bootstrap.ROOT / "requirements.lock"])
    from clients.cli.commands import main

    sys.exit(main())
