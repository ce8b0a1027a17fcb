"""What a rented machine has cost, how long its money lasts, and what ends it from inside when it is spent.

Counted from the moment at which it was asked for, as if it had run from then on: rather too much than too little."""

import time

from core.errors import Conflict
from core.remote.records import Remote, Rented


def spent(rented: Rented, now: float | None = None) -> float:
    """US dollars."""
    return max(0.0, (rented.ended_at or now or time.time()) - rented.created) / 3600 * rented.price_per_hour


def seconds_left(rented: Rented, now: float | None = None) -> float:
    """Until spend_limit is reached; negative if it is over. For the other machine, whose clock may be wrong: it counts
    from when it is told."""
    limit = rented.spend_limit / rented.price_per_hour * 3600
    return rented.created + limit - (now or time.time())


def check_there(record: Remote) -> None:
    """Raises Conflict if it was rented and has ended: it cannot be started again."""
    if record.rented and record.rented.ended:
        hint = f"Forget it: python3 server.py deploy destroy {record.name}. Then rent another one."
        raise Conflict(f"{record.name} {record.rented.ended}", hint=hint)


def leaving(rented: Rented) -> list[str]:
    """Arguments of the Python there, in the folder code/: what the host runs when it stops for good (idle, or its money
    is spent). It ends the machine by its provider's API, from inside."""
    return ["-m", "core.remote.leaving", rented.provider, rented.id]
