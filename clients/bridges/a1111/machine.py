"""What A1111 tells of its machine, and what it does to its own process, which nobody may here."""

from typing import Any

import psutil
from fastapi import APIRouter, HTTPException, Request

router = APIRouter(prefix="/sdapi/v1")


@router.get("/memory")
async def memory(request: Request) -> dict[str, Any]:
    """What workers hold is `used`: of the machine's memory, or of their cards'."""
    workers = (await request.state.client.queue())["workers"]
    held = [(each["device"], each["memory_bytes"]) for each in workers]
    ram = sum(used for device, used in held if device == "cpu")
    cards = [used for device, used in held if device.startswith("cuda")]
    total, now = psutil.virtual_memory().total, {"current": sum(cards), "peak": sum(cards)}
    cuda = {"active": now, "allocated": now, "reserved": now} if cards else {"error": "unavailable"}
    return {"ram": {"free": total - ram, "used": ram, "total": total}, "cuda": cuda}


@router.post("/server-kill")
@router.post("/server-restart")
@router.post("/server-stop")
async def server_control() -> None:
    raise HTTPException(403, "no client may stop or restart this server: its jobs are others' too. Use its terminal.")
