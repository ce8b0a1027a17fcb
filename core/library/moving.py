"""Where a moved job goes: to an end of its queue, or between two others, with a rank between theirs."""

from core.errors import Conflict, InvalidParams, NotFound
from core.jobs import Row, Transaction, now
from core.library.ranks import edge

MOVABLE = ("held", "waiting", "queued")
NEAR = 1e-6  # ranks that are nearer are spread anew: halving goes on for 50 times only
SPREAD = 64  # jobs, or four times as many until there is room for all
QUEUED = "FROM jobs WHERE state = 'queued' AND plugin = ? AND program = ? AND class = ? AND id != ?"


def to_end(tx: Transaction, row: Row, to: str) -> Row:
    """Before or after all others that are queued."""
    end = edge(tx, row["plugin"], row["program"], row["class"], last=to == "back")
    rank = row["rank"] if end is None else end + (1 if to == "back" else -1)
    return tx.update_job(row["id"], MOVABLE, rank=rank)


def beside(tx: Transaction, row: Row, other: str, before: bool) -> Row:
    """Right before or after another job. Raises NotFound, Conflict, InvalidParams."""
    at = tx.one("SELECT *, rowid FROM jobs WHERE id = ? AND owner = ?", other, row["owner"])
    _check(row, at, other, "before" if before else "after")
    lane = (at["plugin"], at["program"], at["class"], row["id"])
    place, sign, order = (at["rank"], at["rowid"]), *(("<", "DESC") if before else (">", "ASC"))
    next_one = f"SELECT id, rank, rowid {QUEUED} AND (rank, rowid) {sign} (?, ?) ORDER BY rank {order}, rowid {order}"
    neighbour = tx.one(f"{next_one} LIMIT 1", *lane, *place)
    lower, upper = (neighbour, at) if before else (at, neighbour)
    if lower is None or upper is None:
        rank = at["rank"] + (-1 if before else 1)
    else:
        if upper["rank"] - lower["rank"] < 2 * NEAR:
            upper = _spread(tx, lane, lower["rank"], upper)
        rank = (lower["rank"] + upper["rank"]) / 2
    risen = {"class": at["class"], "aged": now()} if at["class"] != row["class"] else {}  # one has waited for long
    return tx.update_job(row["id"], MOVABLE, rank=rank, **risen)


def _check(row: Row, at: Row | None, other: str, field: str) -> None:
    if at is None:
        raise NotFound(f"there is no job {other[:100]}.", field=field)
    if at["id"] == row["id"]:
        raise InvalidParams(f"a job cannot be moved {field} itself. Say another one.", field=field)
    if at["state"] not in MOVABLE:
        allowed = f"Jobs are moved beside others that are {', '.join(MOVABLE)}."
        raise Conflict(f"job {at['id']} is {at['state']}. {allowed}", field=field, job=at["id"])
    same = (at["plugin"], at["program"]) == (row["plugin"], row["program"])
    if not same or (at["class"] != row["class"] and at["priority"] != row["priority"]):
        said = f"{row['id']} is {row['name']} ({row['priority']}), {at['id']} is {at['name']} ({at['priority']})"
        allowed = "Each plugin has a queue of its own, and one for its programs; in it, each priority keeps its order."
        raise Conflict(f"job {said}. {allowed}", field=field, job=row["id"], hint="Say one of the same.")


def _spread(tx: Transaction, lane: tuple, below: float, first: Row) -> Row:
    """Even ranks, above `below`, for as many jobs from `first` on as it takes; returns `first` as it is then. It stays
    below what comes after: new jobs are put there by their ranks."""
    after = f"SELECT id, rank {QUEUED} AND (rank, rowid) > (?, ?) ORDER BY rank, rowid LIMIT ?"
    count = SPREAD
    while True:
        found = tx.all(after, *lane, first["rank"], first["rowid"], count)
        rows = [first, *found[: count - 1]]
        end = found[-1]["rank"] if len(found) == count else rows[-1]["rank"] + 1
        step = (end - below) / (len(rows) + 1)
        if step > 2 * NEAR or len(found) < count:
            break
        count *= 4
    for number, row in enumerate(rows, 1):
        tx.all("UPDATE jobs SET rank = ? WHERE id = ?", below + number * step, row["id"])
    return first | {"rank": below + step}
