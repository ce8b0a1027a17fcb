"""Artifacts as resources, the newest first."""

import datetime
from typing import Any

from mcp import MCPError, types

from clients.bridges.answers import words_of
from clients.bridges.pictures import to_base64
from clients.mcp.inputs import SCHEME, id_of, uri_of
from clients.python import ARTIFACT_ID, AsyncClient, ServerError

PAGE = 100
MAX_BYTES = 25_000_000  # read as one message
TEMPLATE = types.ResourceTemplate(
    uri_template=SCHEME + "{id}", name="artifact", title="A result or an upload",
    description="The file of an artifact, by its id as results have it.",
)  # fmt: skip


async def listed(client: AsyncClient, cursor: str | None) -> types.ListResourcesResult:
    """A page; the cursor is the id of the last one before it."""
    if cursor is not None and not ARTIFACT_ID.fullmatch(cursor):
        raise MCPError(types.INVALID_PARAMS, "this cursor is none of ours. Begin without one.")
    before = {"before": cursor} if cursor else {}
    records = (await client.call("artifacts", {"limit": PAGE} | before))["artifacts"]
    last = records[-1]["id"] if len(records) == PAGE else None
    return types.ListResourcesResult(resources=[resource(record) for record in records], next_cursor=last)


def resource(record: dict[str, Any]) -> types.Resource:
    facts = record.get("facts") or {}
    size = f", {facts['width']}x{facts['height']}" if "width" in facts and "height" in facts else ""
    seed = f", seed {facts['seed']}" if "seed" in facts else ""
    made = f", of job {record['job']}" if record.get("job") else ", uploaded"
    created = datetime.datetime.fromtimestamp(record["created"], datetime.timezone.utc)
    return types.Resource(
        uri=uri_of(record["id"]),
        name=record.get("name") or record["id"],
        description=f"{record['kind']}{size}{seed}{made}",
        mime_type=record["mime"],
        size=record["size_bytes"],
        annotations=types.Annotations(last_modified=created.isoformat(timespec="seconds")),
    )


async def read(client: AsyncClient, uri: str) -> types.ReadResourceResult:
    """The file: text as text, all else as bytes. Raises MCPError."""
    try:
        record = (await client.call("artifact", {"id": id_of(uri)}))["artifact"]
        if record["size_bytes"] > MAX_BYTES:
            text = f"{uri} has {record['size_bytes']:,} bytes, and {MAX_BYTES:,} can be read at once."
            raise MCPError(types.INVALID_PARAMS, f"{text} Fetch {client.url}/artifacts/{record['id']} instead.")
        data = await client.artifact(record).bytes()
    except ServerError as error:
        raise MCPError(types.INVALID_PARAMS, words_of(error), {"uri": uri}) from error
    mime = record["mime"]
    if mime.startswith("text/") or mime == "application/json":
        text = types.TextResourceContents(uri=uri, mime_type=mime, text=data.decode("utf-8", "replace"))
        return types.ReadResourceResult(contents=[text])
    return types.ReadResourceResult(
        contents=[types.BlobResourceContents(uri=uri, mime_type=mime, blob=to_base64(data))]
    )
