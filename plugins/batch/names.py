"""Names that tell a picture's family: `<root>@0_2_1` is the job `root`, its picture 0, the variation 2 of that, and of
that in turn what was made second last.

Roots begin with the time, so that files sorted by name are sorted by age, and each is followed by its descendants."""

import re
import secrets
import time
from collections.abc import Iterable

DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # of ULIDs: no letter that is taken for a digit; sorted as ASCII is
# The root may have any letters, so what comes after the last @ counts; a copy's number may follow.
NAME = re.compile(r"(?P<family>.+@(?P<path>\d+(?:_\d+)*))(?: ?\(\d+\)|-\d+)?")


def new_root() -> str:
    """16 letters and digits: the time in milliseconds, then chance."""
    moment, chance = time.time_ns() // 1_000_000, secrets.randbits(30)
    return _digits(moment, 10) + _digits(chance, 6)


def _digits(number: int, length: int) -> str:
    return "".join(DIGITS[number >> 5 * place & 31] for place in reversed(range(length)))


def family(name: str | None) -> str | None:
    """The name that is in a file's name, without its suffix and number; None if there is none."""
    found = NAME.fullmatch(re.sub(r"\.[A-Za-z]\w{2,3}$", "", name or ""))
    return found and found["family"]


def child(name: str, number: int, of: int = 1) -> str:
    """The name of what was made of `name`: picture `number` of `of`. All have as many digits, or the tenth would come
    before the second one, in the middle of another's family."""
    width = len(str(max(of - 1, number)))
    return f"{name}{'_' if '@' in name else '@'}{number:0{width}}"


def next_number(name: str, known: Iterable[str | None]) -> int:
    """The first number that none of the children of `name` has yet, after all of them."""
    stem = f"{name}_"
    found = (family(each) for each in known)
    paths = [each.removeprefix(stem) for each in found if each and each.startswith(stem)]
    return max((int(path.split("_")[0]) + 1 for path in paths), default=0)
