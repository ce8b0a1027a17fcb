"""A machine is rented, waited for until it is really there, and ended, whatever goes wrong on the way."""

from pathlib import Path

from core.remote.records import Remote


def end(data: Path, record: Remote) -> None:
    """End a rented machine at its provider, for good; nothing happens to one that is gone or was never rented. Ask for
    it before what is there is tidied up: it costs money as long as it is there. Raises CoreErrors that say how to end
    it by hand."""
    raise NotImplementedError
