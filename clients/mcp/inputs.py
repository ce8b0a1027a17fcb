"""What a model may give as an input: an artifact's id or URI, a text, or a file as a data: URL or base64."""

import json
from typing import Any
from urllib.parse import unquote_to_bytes

from clients.bridges.pictures import from_base64
from clients.python import ARTIFACT_ID, AsyncClient

SCHEME = "stable-core://artifacts/"


def uri_of(id: str) -> str:
    return SCHEME + id


def id_of(uri: str) -> str:
    """The artifact that a URI names; a text that is no URI of ours comes back as it is."""
    return uri.removeprefix(SCHEME)


async def uploaded(client: AsyncClient, ports: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs as the server takes them: ids. Raises InvalidParams, which names the input, before any upload."""
    found = {name: value(name, given, ports.get(name)) for name, given in inputs.items()}
    return {name: await sent(client, given, ports.get(name)) for name, given in found.items()}


def value(name: str, given: Any, port: dict[str, Any] | None) -> Any:
    """What one means: an id, bytes to upload, or, where the server is to say what is wrong with it, itself."""
    if isinstance(given, list) and (port is None or port["list"] or port["kind"] != "json"):
        return [value(name, each, port) for each in given]
    if isinstance(given, str) and ARTIFACT_ID.fullmatch(id_of(given)):
        return id_of(given)
    if port is None or given is None or (isinstance(given, dict) and given.keys() <= {"job", "index"} and given):
        return given
    if isinstance(given, str) and given[:5].lower() == "data:":
        head, _, body = given.partition(",")
        return from_base64(given, name) if head.endswith(";base64") else unquote_to_bytes(body)
    if port["kind"] == "text" and isinstance(given, str):
        return given.encode()
    if port["kind"] == "json":
        return json.dumps(given).encode()
    return from_base64(given, name) if isinstance(given, str) else given


async def sent(client: AsyncClient, given: Any, port: dict[str, Any] | None) -> Any:
    if isinstance(given, list):
        return [await sent(client, each, port) for each in given]
    return (await client.upload(given, kind=port["kind"])).id if port and isinstance(given, bytes) else given
