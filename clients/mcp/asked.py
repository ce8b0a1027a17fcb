"""What else one asks for, as tools: a few events of the server, with the fields that its OpenAPI document says."""

import uuid
from typing import Any

from mcp import types

from clients.mcp import results
from clients.mcp.inputs import id_of, uploaded
from clients.python import AsyncClient

EVENTS = {  # each with its twin in the document
    "choices": ("get", "/choices"),
    "plan": ("post", "/plan"),
    "submit": ("post", "/jobs"),
    "job": ("get", "/jobs/{id}"),
    "jobs": ("get", "/jobs"),
    "queue": ("get", "/queue"),
    "cancel": ("post", "/jobs/{id}/cancel"),
    "artifact": ("get", "/artifacts/{id}"),
    "artifacts": ("get", "/artifacts"),
    "lineage": ("get", "/artifacts/{id}/lineage"),
    "review": ("post", "/review"),
}
MORE = {
    "submit": "It does not wait: for jobs that take longer than a call may. Look at it with `job`, at results with "
    "`artifact`.",
    "artifact": "Shows it as well: the picture, the text or the value.",
    "choices": "Parameters name their list.",
}
OURS = {"submit": ("id", "client_ref", "session", "embed_metadata")}  # nothing that a model has to think of
CHANGE = {"submit", "cancel", "review"}
ROWS = 10  # told of a list if nothing is said: each is some hundred words to a model


def tools(document: dict[str, Any]) -> list[types.Tool]:
    return [tool(document, name, *EVENTS[name]) for name in EVENTS]


def tool(document: dict[str, Any], name: str, method: str, path: str) -> types.Tool:
    operation = document["paths"][f"/api/v1{path}"][method]
    schema = body(document, operation)
    for each in operation.get("parameters", []):
        schema["properties"][each["name"]] = dict(each["schema"])
        schema["required"] += [each["name"]] if each["required"] else []
    for each in OURS.get(name, ()):
        schema["properties"].pop(each, None)
    for each in schema["properties"].values():
        each.pop("title", None)
    if name in ("jobs", "artifacts"):
        schema["properties"]["limit"]["default"] = ROWS
    return types.Tool(
        name=name,
        title=name.capitalize(),
        description=f"{operation['description']} {MORE.get(name, '')}".strip(),
        input_schema=schema,
        annotations=types.ToolAnnotations(
            read_only_hint=name not in CHANGE, destructive_hint=name == "cancel", idempotent_hint=name != "submit",
            open_world_hint=False,
        ),
    )  # fmt: skip


def body(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """The schema of an operation's body, as one that stands alone."""
    schema: dict[str, Any] = {}
    for media in operation.get("requestBody", {}).get("content", {}).values():
        schema = media["schema"]
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    properties = {name: dict(each) for name, each in schema.get("properties", {}).items()}
    required = list(schema.get("required", []))
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


async def answer(client: AsyncClient, version: str, name: str, given: dict[str, Any]) -> types.CallToolResult:
    """What the server answers to the event. Raises ServerError."""
    if name in ("jobs", "artifacts"):
        given = {"limit": ROWS} | given
    if name in ("artifact", "lineage") and isinstance(given.get("id"), str):
        given = given | {"id": id_of(given["id"])}
    if name in ("submit", "plan") and isinstance(given.get("inputs"), dict):
        about = await client.describe(str(given.get("job")), wait=False)
        given = given | {"inputs": await uploaded(client, about["inputs"] if about else {}, given["inputs"])}
    if name == "submit":
        given = {"session": client.session, "client_ref": uuid.uuid4().hex} | given
    told = {key: value for key, value in (await client.call(name, given)).items() if key != "ok"}
    if name == "artifact":
        return await results.made(version, [client.artifact(told["artifact"])], told)
    return results.values(told)
