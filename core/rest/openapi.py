"""The OpenAPI 3.1 document of what is under plain HTTP, made from the handlers' signatures and the answers' models."""

import inspect
from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from openapi_pydantic import OpenAPI
from openapi_pydantic.util import PydanticSchema, construct_open_api_with_schema_class

from core.api import VERSION, Handler
from core.jobs import Row
from core.rest import answers, downloads, uploads
from core.rest.schemas import Model, query_schemas, request_model
from core.rest.twins import BASE, JSON, STREAMED, TWINS, Twin

ABOUT = "The REST twins of the Socket.IO events, uploads and downloads. Words and events are those of docs/protocol.md."
TAGS = {  # by the first part of the path; all others: About
    "jobs": "Jobs", "flows": "Jobs", "queue": "Jobs", "plan": "Jobs", "call": "Jobs",
    "artifacts": "Results", "review": "Results", "compare": "Results", "sessions": "Sessions",
}  # fmt: skip
PROBLEMS = {
    400: "A value is missing, misspelt, of the wrong type or out of range.",
    401: "No token, or a wrong one.",
    403: "A page of another origin, or a foreign Host.",
    404: "There is no such thing.",
    409: "The thing is not in a state that allows this.",
    412: "Another version of tus.",
    413: "Over a limit.",
    415: "Another Content-Type is needed.",
    429: "Too many unfinished jobs or uploads.",
    500: "The server's own mistake, or its disk.",
    502: "The plugin's code raised, or its worker died.",
    504: "No answer in time.",
    507: "The device's memory did not suffice.",
}
READING = (400, 401, 403, 404, 500)
WRITING = (*READING, 409, 413, 415, 429, 502, 504, 507)
TEXT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 0, "maximum": 10**15}
BINARY = {"type": "string", "format": "binary"}
TUS = {"Tus-Resumable": {"const": uploads.TUS}}
STATE = {  # headers that say how far an upload is
    "Upload-Offset": {"description": "Bytes that are there.", "schema": NUMBER},
    "Upload-Length": {"description": "Bytes that there will be.", "schema": NUMBER},
    "Upload-Expires": {"description": "When the unfinished upload is forgotten.", "schema": TEXT},
    "Upload-Metadata": {"description": "As it was sent.", "schema": TEXT},
    "Upload-Artifact": {"description": "Once finished: the artifact's id.", "schema": TEXT},
}


def document(handlers: dict[str, Handler]) -> Row:
    """The document, as JSON."""
    paths: dict[str, Row] = {}
    for twin in TWINS:
        item = paths.setdefault(BASE + twin.path, {})
        item[twin.method.lower()] = _twin(twin, handlers[twin.event])
    paths[BASE + STREAMED["subscribe"]] = {"get": _stream(handlers["subscribe"])}
    for name in ("openapi", "asyncapi"):
        answer = _content("The document.", JSON, {"type": "object"})
        paths[f"{BASE}/{name}.json"] = {
            "get": _operation(name, "About", f"This server's {name} document.", 200, answer)
        }
    paths |= _bytes() | _resumable()
    built = OpenAPI.model_validate({
        "openapi": "3.1.0",
        "info": {"title": "stable-core", "version": VERSION, "description": ABOUT},
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "The server's token."}},
            "responses": {str(code): _json(text, answers.Refusal) for code, text in PROBLEMS.items()},
        },
    })  # fmt: skip
    built = construct_open_api_with_schema_class(built)
    return built.model_dump(mode="json", by_alias=True, exclude_unset=True)


def with_jobs(base: Row, plugins: list[Row]) -> Row:
    """The document together with the parameters of all announced jobs. Each is a schema called `plugin.job`, and holds
    for the `params` of a body that names this job."""
    jobs = [(f"{plugin['name']}.{job['name']}", job) for plugin in plugins for job in plugin["jobs"]]
    count = Counter(job["name"] for _, job in jobs)
    schemas: dict[str, Row] = {}
    rules: dict[str, list[Row]] = {"SubmitBody": [], "PlanBody": [], "CallBody": []}
    for full, job in jobs:
        key = _key(full)
        params = _moved({name: each for name, each in job["params"].items() if name != "$defs"}, key)
        schemas[key] = params | {"title": full, "description": job["help"]}
        schemas |= {_key(f"{full}.{name}"): _moved(each, key) for name, each in job["params"].get("$defs", {}).items()}
        names = [full, job["name"]] if count[job["name"]] == 1 else [full]
        params = {"$ref": f"#/components/schemas/{key}"}
        for body in ("CallBody", "PlanBody") if job["light"] else ("SubmitBody", "PlanBody"):
            allowed = params if body == "SubmitBody" else {"anyOf": [params, {"type": "null"}]}
            then = {"properties": {"params": allowed}}
            rules[body].append({"if": {"properties": {"job": {"enum": names}}, "required": ["job"]}, "then": then})
    known = base["components"]["schemas"]
    bodies = {name: known[name] | {"allOf": each} for name, each in rules.items() if each}
    if rules["SubmitBody"]:
        jobs_of_flow = known["FlowBody"]["properties"]["jobs"]
        several = jobs_of_flow | {"items": jobs_of_flow["items"] | {"allOf": rules["SubmitBody"]}}
        bodies["FlowBody"] = known["FlowBody"] | {"properties": known["FlowBody"]["properties"] | {"jobs": several}}
    return base | {"components": base["components"] | {"schemas": known | schemas | bodies}}


def _key(name: str) -> str:
    """As names in a document have to be: a job's may have letters of any language."""
    return quote(name, safe="").replace("%", "_")


def _moved(schema: Any, key: str) -> Any:
    """A part of a job's schema, whose references lead to where its definitions are in the document."""
    if isinstance(schema, list):
        return [_moved(each, key) for each in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {name: _moved(each, key) for name, each in schema.items()}
    if isinstance(reference := schema.get("$ref"), str):
        moved["$ref"] = f"#/components/schemas/{key}.{_key(reference.rpartition('/')[2])}"
    return moved


def _twin(twin: Twin, handler: Handler) -> Row:
    name = "".join(part.title() for part in (twin.event, *map(str, twin.fixed.values())))
    model = request_model(twin.event, handler, twin.said, f"{name}Body")  # what the path says is not in it
    known = answers.ANSWERS[twin.event]
    operation = _operation(
        name[0].lower() + name[1:], TAGS.get(twin.path.split("/")[1], "About"), inspect.getdoc(handler) or "", 200,
        _json("As asked.", known), READING if twin.method == "GET" else WRITING,
    )  # fmt: skip
    operation["parameters"] = _in_path(twin.path, query_schemas(request_model(twin.event, handler)))
    if twin.method == "GET":
        operation["parameters"] += _in_query(model)
    elif model.model_fields:
        required = any(field.is_required() for field in model.model_fields.values())
        operation["requestBody"] = {"required": required, "content": {JSON: {"schema": _schema(model)}}}
    return operation


def _stream(handler: Handler) -> Row:
    text = (
        f"{inspect.getdoc(handler)}\n\nServer-Sent Events: `subscribed` with seq and resync, then the numbered events "
        "of the AsyncAPI document, each with its number as id. Progress, previews and logs are on the socket only."
    )
    answer = _content("Events, until you hang up.", "text/event-stream", TEXT)
    operation = _operation("events", "About", text, 200, answer)
    last = {"description": "Goes before `since`.", "schema": NUMBER}
    operation["parameters"] = _in_query(request_model("subscribe", handler)) + _in_header(
        {"Last-Event-ID": last}, False
    )
    return operation


def _bytes() -> dict[str, Row]:
    send = _operation("upload", "Bytes", "Send a file in one request.", 201, _json("Stored.", answers.UploadAnswer),
                      (*READING, 413))  # fmt: skip
    send |= {"parameters": _in_query(uploads.Label), "requestBody": _binary("application/octet-stream")}
    whole = _content("The file.", "*/*", BINARY) | {
        "headers": {"ETag": {"schema": TEXT}, "Accept-Ranges": {"schema": TEXT}}
    }
    fetch = _operation(
        "download", "Bytes", "Fetch a file, or part of it, or a picture converted.", 200, whole, (*READING, 413)
    )
    fetch["responses"] |= {
        "206": _content("The part that Range asks for.", "*/*", BINARY)
        | {"headers": {"Content-Range": {"schema": TEXT}}},
        "304": {"description": "It is what If-None-Match says."},
        "416": {"description": "The file has no such range.", "content": {JSON: {"schema": _schema(answers.Refusal)}}},
    }
    fetch["parameters"] = _in_path("/{id}", {"id": TEXT}) + _in_query(downloads.Wanted)
    fetch["parameters"] += _in_header(
        {name: {"schema": TEXT} for name in ("Range", "If-Range", "If-None-Match")}, False
    )
    health = _operation(
        "health", "About", "Whether the server answers.", 200, _json("It does.", answers.HealthAnswer), ()
    )
    web = _operation("web", "About", "How the page at / stands.", 200, _json("So.", answers.WebAnswer), (401, 403, 500))
    return {
        "/artifacts": {"put": send, "post": send | {"operationId": "uploadByPost"}},
        "/artifacts/{id}": {"get": fetch},
        "/healthz": {"get": health | {"security": []}},
        "/web": {"get": web},
    }


def _resumable() -> dict[str, Row]:
    """tus 1.0.0."""
    limits = {name: {"schema": TEXT} for name in ("Tus-Version", "Tus-Extension", "Tus-Max-Size")}
    options = _operation("uploadOptions", "Bytes", "What of tus is spoken here.", 204, _empty(limits), ())
    begin = _operation(
        "beginUpload", "Bytes", "Begin a resumable upload (tus 1.0.0); the first bytes may come with it.", 201,
        _empty({"Location": {"schema": TEXT}} | STATE), (*READING, 409, 412, 413, 429),
    )  # fmt: skip
    metadata = {
        "description": "Pairs of a key (kind, name or filename, session) and its value in Base64, separated by commas.",
        "schema": TEXT,
    }
    begin["parameters"] = _in_header(TUS) + _in_header({"Upload-Length": {"schema": NUMBER}})
    begin["parameters"] += _in_header({"Upload-Metadata": metadata}, False)
    begin["requestBody"] = _binary(uploads.BYTES) | {"required": False}
    look = _operation("lookAtUpload", "Bytes", "How far an upload is.", 200, _empty(STATE), (*READING, 412))
    go_on = _operation("goOnWithUpload", "Bytes", "Send more bytes, from Upload-Offset on.", 204, _empty(STATE),
                       (*READING, 409, 412, 413, 415))  # fmt: skip
    go_on["parameters"] = _in_header({"Upload-Offset": {"schema": NUMBER}})
    go_on["requestBody"] = _binary(uploads.BYTES)
    drop = _operation("dropUpload", "Bytes", "Forget an upload; an artifact it became stays.", 204, _empty({}),
                      (*READING, 412))  # fmt: skip
    for operation in (look, go_on, drop):
        operation["parameters"] = _in_path("/{id}", {"id": TEXT}) + _in_header(TUS) + operation.get("parameters", [])
    return {
        uploads.PATH: {"options": options | {"security": []}, "post": begin},
        f"{uploads.PATH}/{{id}}": {"head": look, "patch": go_on, "delete": drop},
    }


def _operation(name: str, tag: str, text: str, status: int, answer: Row, problems: Iterable[int] = READING) -> Row:
    responses = {str(status): answer} | {str(code): {"$ref": f"#/components/responses/{code}"} for code in problems}
    return {
        "operationId": name, "tags": [tag], "summary": text.split("\n")[0], "description": text, "responses": responses
    }  # fmt: skip


def _schema(model: Model) -> PydanticSchema:
    return PydanticSchema(schema_class=model)


def _json(text: str, model: Model) -> Row:
    return {"description": text, "content": {JSON: {"schema": _schema(model)}}}


def _content(text: str, mime: str, schema: Row) -> Row:
    return {"description": text, "content": {mime: {"schema": schema}}}


def _empty(headers: Row) -> Row:
    return {"description": "Done.", "headers": headers}


def _binary(mime: str) -> Row:
    return {"required": True, "content": {mime: {"schema": BINARY}}}


def _in_path(path: str, fields: dict[str, Row]) -> list[Row]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": fields[name]} for name in names]


def _in_query(model: Model) -> list[Row]:
    return [
        {"name": name, "in": "query", "required": model.model_fields[name].is_required(), "schema": schema}
        for name, schema in query_schemas(model).items()
    ]


def _in_header(headers: dict[str, Any], required: bool = True) -> list[Row]:
    return [
        {"name": name, "in": "header", "required": required, **(each if "schema" in each else {"schema": each})}
        for name, each in headers.items()
    ]
