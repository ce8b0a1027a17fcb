"""Starts the MCP server on stdin and stdout, in .venv, which is made if need be: `python3 FOLDER/clients/mcp`.

The apps that start it do so from any folder."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

if __name__ == "__main__":
    # A folder that is started stands first there, and neither core nor clients are in it.
    sys.path[:] = [str(HERE.parents[1]), *(path for path in sys.path if Path(path).resolve() != HERE)]
    from core.ops import bootstrap

    bootstrap.ensure([bootstrap.ROOT / "requirements.lock"])
    from clients.mcp.stdio import main

    sys.exit(main())
