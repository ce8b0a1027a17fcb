"""What there is to choose: samplers, schedulers, models, upscalers and so on, in A1111's shapes."""

from typing import Any

from fastapi import APIRouter, Request

router = APIRouter(prefix="/sdapi/v1")


@router.get("/sd-models")
async def sd_models(request: Request) -> list[dict[str, Any]]:
    names = await request.state.client.choices("models/checkpoint")
    return [{"title": name, "model_name": name, "hash": None, "sha256": None, "filename": name} for name in names]
