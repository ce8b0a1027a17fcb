"""Starts the command line, in .venv, which is made if need be."""

import os
import signal
import sys

from core.ops import bootstrap

if __name__ == "__main__":
    bootstrap.ensure([bootstrap.ROOT / "requirements.lock"])
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends it without a traceback
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what may come next
        from clients.cli.completion import complete

        complete()
    from clients.cli.commands import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
