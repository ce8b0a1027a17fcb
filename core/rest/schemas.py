"""What clients may send, as models that are made from the handlers' signatures, and the JSON Schemas of models."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pydantic
from pydantic.json_schema import models_json_schema

from core.api import OURS, Submission
from core.jobs import Row

Model = type[pydantic.BaseModel]


def request_model(event: str, handler: Callable[..., Row], without: Iterable[str] = (), name: str = "") -> Model:
    """The fields of an event, from its handler's signature; `**submission` stands for the fields of a Submission. It is
    called `name`, by default after the event."""
    parameters = inspect.signature(handler, eval_str=True).parameters
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    fields: dict[str, Any] = {
        name: (each.annotation, ... if each.default is each.empty else each.default)
        for name, each in parameters.items()
        if each.kind is not each.VAR_KEYWORD and name not in OURS | {*without}
    }
    base = Submission if open_ended else pydantic.create_model("Strict", __config__={"extra": "forbid"})
    text = inspect.getdoc(handler)
    name = name or f"{event.title().replace('_', '')}Request"
    return pydantic.create_model(name, __base__=base, __doc__=text, **fields)


def query_schemas(model: Model) -> dict[str, Row]:
    """The JSON Schema of each field, as a query parameter: it is given or not, never null."""
    fields = {}
    for name, field in model.model_json_schema()["properties"].items():
        choices = [each for each in field.pop("anyOf", []) if each != {"type": "null"}]
        field |= choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {}
        fields[name] = {key: value for key, value in field.items() if not (key == "default" and value is None)}
    return fields


def schemas(models: Iterable[Model]) -> dict[str, Row]:
    """The JSON Schemas of `models` and of what they hold, by name."""
    template = "#/components/schemas/{model}"
    return models_json_schema([(model, "validation") for model in models], ref_template=template)[1]["$defs"]
