"""Tests any plugin against what it promises: at a real server that has only it, as a client."""

from collections.abc import Callable
from pathlib import Path

from core.errors import PluginError
from core.ops.config import Config


def selftest(folder: Path, config: Config, say: Callable[[str], None]) -> None:
    """The part that takes seconds, of the plugin in `folder`; raises PluginError with what failed.

    For whoever installs: `say` gets a line for each claim. Its environment is made if it is not there."""
    from core.ops.conformance.checking import check  # imports what a client needs, and not every plugin's Python has

    report = check(folder, config, say, quick=True)
    if report.failed:
        raise PluginError(f"it does not pass its test: {'; '.join(report.failed)}.")
