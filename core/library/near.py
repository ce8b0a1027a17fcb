"""What was probably meant by a name that does not exist, for messages."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """For the end of a sentence: " Did you mean steps?", with the space; empty where no name is near."""
    near = difflib.get_close_matches(name[:100], known, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def meant_or_known(name: str, known: Iterable[str]) -> str:
    """The same, or, where no name is near, those there are: " There are frame, text."."""
    known = sorted(known)
    return did_you_mean(name, known) or (f" There are {', '.join(known)}." if known else " There are none.")
