"""The AsyncAPI 3.0 document of the socket: what clients may send, what they are answered, what the server sends."""

import inspect

from core.api import VERSION, Handler
from core.jobs import Row
from core.rest.answers import ANSWERS, EVENTS, Refusal
from core.rest.schemas import Model, request_model, schemas

ABOUT = (
    "Socket.IO 5, default namespace: each message is an event with one JSON object. Connect with "
    '`auth: {"token": "..."}`. Every call is acknowledged with `{"ok": true, ...}` or `{"ok": false, "error": {...}}`. '
    "Bytes and REST twins: /api/v1/openapi.json."
)


def document(handlers: dict[str, Handler]) -> Row:
    """The document, as JSON."""
    requests = {event: request_model(event, handler) for event, handler in handlers.items()}
    messages = {f"{event}.call": _message(event, model) for event, model in requests.items()}
    for event in handlers:
        messages[f"{event}.answer"] = _message(f"{event} acknowledged", ANSWERS[event], Refusal)
    messages |= {f"{event}.event": _message(event, model) for event, model in EVENTS.items()}
    operations = {f"call {event}": _call(event, handler) for event, handler in handlers.items()}
    for event, model in EVENTS.items():
        operations[f"send {event}"] = {
            "action": "send", "summary": inspect.getdoc(model), "channel": {"$ref": "#/channels/socket"},
            "messages": [{"$ref": f"#/channels/socket/messages/{event}.event"}],
        }  # fmt: skip
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "stable-core", "version": VERSION, "description": ABOUT},
        "servers": {"local": {"host": "127.0.0.1:7777", "protocol": "socket.io", "pathname": "/socket.io/"}},
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": "/", "description": "The default namespace.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": operations,
        "components": {
            "messages": messages, "schemas": schemas([*requests.values(), *ANSWERS.values(), *EVENTS.values(), Refusal])
        },
    }  # fmt: skip


def _message(event: str, *models: Model) -> Row:
    references = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    return {"name": event, "payload": references[0] if len(references) == 1 else {"oneOf": references}}


def _call(event: str, handler: Handler) -> Row:
    channel = {"$ref": "#/channels/socket"}
    return {
        "action": "receive", "summary": inspect.getdoc(handler), "channel": channel,
        "messages": [{"$ref": f"#/channels/socket/messages/{event}.call"}],
        "reply": {"channel": channel, "messages": [{"$ref": f"#/channels/socket/messages/{event}.answer"}]},
    }  # fmt: skip
