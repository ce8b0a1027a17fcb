"""How results are told to a model: pictures as pictures, texts as texts, ids and seeds as data, errors to mend."""

import json
from typing import Any

from mcp import types
from mcp_types.version import is_version_at_least

from clients.bridges.pictures import to_base64
from clients.mcp.inputs import uri_of
from clients.python import AsyncArtifact, ServerError

INLINE_BYTES = 700_000  # of all files in one answer: as base64 still under the megabyte that Claude Desktop takes
LEAST_BYTES = 20_000  # with less for each, a picture is told by its link alone
INLINE_CHARACTERS = 100_000
QUALITIES = (85, 60, 35, 15)
DRAWN = ("image/png", "image/jpeg", "image/webp", "image/gif")  # what models' programming interfaces take
LINK_SECONDS = 24 * 60 * 60
LINKS_SINCE = "2025-06-18"  # the version of MCP that brought links in results


async def made(version: str, artifacts: list[AsyncArtifact], told: dict[str, Any]) -> types.CallToolResult:
    """The result of a tool: `told` and what `artifacts`, whose records are loaded, hold.

    Files are inside as far as clients take them, and links lead to all. `version` is the MCP that the client speaks."""
    content: list[types.ContentBlock] = []
    entries = [entry(each) for each in artifacts]
    files = [each for each in artifacts if each.kind in ("image", "mask", "audio")]
    most = max(LEAST_BYTES, INLINE_BYTES // max(1, len(files)))
    room, missing = INLINE_BYTES // most, 0
    for each, about in zip(artifacts, entries, strict=True):
        small = each.record["size_bytes"] <= 4 * INLINE_CHARACTERS
        block: types.ContentBlock | None = None
        if each in files and room > 0:
            block, room = await file(each, most), room - 1
        elif each.kind == "text" and small:
            block = types.TextContent(text=cut(await each.text()))
        elif each.kind == "json" and small:
            about["value"] = json.loads(await each.bytes())
        content += [block] if block else []
        missing += block is None and "value" not in about
    if is_version_at_least(version, LINKS_SINCE):
        content += [link(each.record) for each in artifacts]
    structured = told | {"artifacts": entries}
    note = f"\n{missing} of them cannot be shown here: their links lead to them." if missing else ""
    content.append(types.TextContent(text=cut(json.dumps(structured, ensure_ascii=False)) + note))
    return types.CallToolResult(content=content, structured_content=structured)


def values(told: dict[str, Any], outputs: list[Any] | None = None) -> types.CallToolResult:
    """An answer in words: `outputs` each in its own block, else all of it as JSON."""
    texts = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in outputs or [told]]
    return types.CallToolResult(content=[types.TextContent(text=cut(each)) for each in texts], structured_content=told)


def failed(error: ServerError) -> types.CallToolResult:
    """Whatever the server says of it, so that the call can be mended."""
    body = {name: getattr(error, name) for name in ("code", "message", "hint", "field", "job", "errors")}
    lines = [f"{error.code}: {error.message}", error.hint, error.field and f"Field: {error.field}"]
    return types.CallToolResult(
        content=[types.TextContent(text="\n".join(filter(None, lines)))],
        structured_content={"error": {name: each for name, each in body.items() if each}},
        is_error=True,
    )


def entry(artifact: AsyncArtifact) -> dict[str, Any]:
    record = artifact.record
    facts = record.get("facts") or {}
    about = {"id": artifact.id, "uri": uri_of(artifact.id), "url": artifact.link(LINK_SECONDS)}
    about |= {name: record[name] for name in ("kind", "mime", "size_bytes")}
    return about | {name: facts[name] for name in ("seed", "width", "height") if name in facts}


def link(record: dict[str, Any]) -> types.ResourceLink:
    return types.ResourceLink(
        uri=uri_of(record["id"]), name=record.get("name") or record["id"], mime_type=record["mime"],
        size=record["size_bytes"],
    )  # fmt: skip


async def file(artifact: AsyncArtifact, most: int) -> types.ImageContent | types.AudioContent | None:
    """A picture or sound in at most `most` bytes: as it is, or a picture as JPEG; None if it does not fit."""
    mime, fits = artifact.record["mime"], artifact.record["size_bytes"] <= most
    if artifact.kind == "audio":
        return types.AudioContent(data=to_base64(await artifact.bytes()), mime_type=mime) if fits else None
    if fits and mime in DRAWN:
        return types.ImageContent(data=to_base64(await artifact.bytes()), mime_type=mime)
    for quality in QUALITIES:
        data = await artifact.bytes("jpeg", quality)
        if len(data) <= most:
            return types.ImageContent(data=to_base64(data), mime_type="image/jpeg")
    return None


def cut(text: str) -> str:
    if len(text) <= INLINE_CHARACTERS:
        return text
    return f"{text[:INLINE_CHARACTERS]}\n[{len(text) - INLINE_CHARACTERS:,} more characters]"
