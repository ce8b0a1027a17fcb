"""The command line in the tests' own process: what a line prints and its exit code, without the start of a Python."""

import contextlib
import io
import sys
from types import SimpleNamespace

from clients.cli import commands


class Terminal(io.StringIO):
    """A stdin at which nobody types."""

    def isatty(self):
        return True


def in_process(client, *words, stdin=None):
    """Carry out a line; `stdin` (text or bytes) is what is piped in, without it there is a terminal."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    piped = Terminal() if given is None else io.TextIOWrapper(io.BytesIO(given))
    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = piped
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = commands.execute(client, [str(word) for word in words])
    finally:
        sys.stdin = before
    return SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue(), returncode=code)
