"""Whether an uploaded file is one of our results come back: exported, moved, renamed, edited or sent by somebody."""

from core.jobs import Row, Transaction


def recognise(tx: Transaction, upload: Row, claimed: str | None, said: str | None = None) -> list[str]:
    """Fill in the `source` of an upload: what is `said` to be it, else the artifact of this owner with the `claimed`
    id, else the first result with the same bytes. Returns it as the upload's parents."""
    mine = "SELECT id FROM artifacts WHERE owner = ? AND"
    found = claimed and tx.one(f"{mine} id = ?", upload["owner"], claimed)
    same = f"{mine} sha256 = ? AND id != ? AND job IS NOT NULL ORDER BY created, id LIMIT 1"
    found = found or tx.one(same, upload["owner"], upload["sha256"], upload["id"])
    upload["source"] = said or (found["id"] if found else None)
    return [upload["source"]] if upload["source"] else []
