"""The settings of plugins and the admin's own defaults and bounds: told, checked, written into config.toml, applied."""

import threading
from collections.abc import Callable
from typing import Any

import jsonschema

from core.api import Handler
from core.auth import OWNER, admin_only
from core.errors import Conflict, InvalidParams, NotFound, UnknownJob
from core.jobs import Row
from core.library.catalogue import MAX_ERRORS, Catalogue, Fields, PluginInfo
from core.library.near import did_you_mean
from core.ops import discovery, toml
from core.ops.config import Config

Changes = dict[str, dict[str, Any] | None]  # by parameter or setting; None: as the plugin has it


class Settings:
    """`configured(info, settings)` announces a plugin anew, which has other defaults and bounds, or `settings`, now."""

    def __init__(
        self, config: Config, catalogue: Catalogue, configured: Callable[[PluginInfo, bool], None],
        run_blocking: Callable[..., Any],
    ):  # fmt: skip
        self._config, self._catalogue = config, catalogue
        self._configured, self._run_blocking = configured, run_blocking
        self._changing = threading.Lock()
        self.handlers: list[Handler] = [self.settings, self.configure]

    def settings(self, owner: str) -> Row:
        """The admin's own defaults and bounds, what the plugins declare themselves, and for the admin the settings of
        plugins."""
        told = {"overrides": self._config.overrides, "declared": {}}
        for info in list(self._catalogue.plugins.values()):
            if info.offered_to(owner):
                told["declared"] |= {f"{info.name}.{job}": declared for job, declared in info.declared.items()}
        if owner == OWNER:
            told |= {"plugin_settings": self._config.plugin_settings, "file": str(self._config.file)}
        return told

    def configure(
        self, owner: str, overrides: dict[str, Changes | None] | None = None,
        plugin_settings: dict[str, dict[str, Any] | None] | None = None,
    ) -> Row:  # fmt: skip
        """Change them, all or none, in config.toml and at once for everybody. What is not named stays; null gives back
        what the plugin declares."""
        admin_only(owner, "configure the server")
        with self._changing:
            errors: list[Row] = []
            wanted = self._overrides(overrides or {}, errors)
            settings = self._plugin_settings(plugin_settings or {}, errors)
            if errors:
                text = " ".join(error["message"] for error in errors)
                raise InvalidParams(text, field=errors[0]["field"], errors=errors[:MAX_ERRORS])
            changes = {"overrides": wanted, "plugin_settings": settings}
            self._run_blocking(toml.change, self._config.file, changes)
            self._config.overrides = toml.changed(self._config.overrides, wanted)
            self._config.plugin_settings = toml.changed(self._config.plugin_settings, settings)
            for info in list(self._catalogue.plugins.values()):
                if info.name in settings or info.name in {name.partition(".")[0] for name in wanted}:
                    self._configured(info, info.name in settings)
        return self.settings(owner)

    def _overrides(self, given: dict[str, Changes | None], errors: list[Row]) -> dict[str, Changes | None]:
        """As they are to be stored; what is wrong goes to `errors`. Raises UnknownJob."""
        wanted: dict[str, Changes | None] = {}
        for name, params in given.items():
            if params is None and name in self._config.overrides:  # also of a job that is not there any more
                wanted[name] = None
                continue
            try:
                job = self._catalogue.find(name)
            except UnknownJob as error:
                error.extra["field"] = f"overrides.{name[:100]}"
                raise
            declared = job.plugin.declared[job.about["name"]]
            checked = wanted[job.name] = dict(params) if params else None
            for param, values in (params or {}).items():
                place = f"overrides.{job.name}.{param[:100]}"
                if param not in declared and not (values is None and param in self._config.overrides.get(job.name, {})):
                    near = did_you_mean(param, declared)
                    errors.append(_bad(place, f"{job.name} has no parameter {param[:100]!r}.{near}"))
                elif values is not None:
                    kept = {key: value for key, value in values.items() if value is not None}
                    schema = job.about["params"]["properties"][param]
                    errors += _wrong(place, param, kept, declared[param], schema, job.about["params"].get("$defs", {}))
                    checked[param] = kept or None
        return wanted

    def _plugin_settings(self, given: dict[str, Row | None], errors: list[Row]) -> dict[str, Row | None]:
        for name, values in given.items():
            info = self._catalogue.plugins.get(name)
            if values is None and name in self._config.plugin_settings:
                continue
            if info is None:
                near = did_you_mean(name, self._catalogue.plugins)
                raise NotFound(f"there is no plugin {name[:100]!r}.{near}", field=f"plugin_settings.{name[:100]}")
            if not info.settings_schema:
                raise Conflict(f"the settings of {name} are not known: it is {info.status}. {info.error or ''}".strip())
            merged = toml.changed(self._config.plugin_settings, {name: values}).get(name, {})
            try:
                Fields(name, "setting", info.settings_schema, self._run_blocking).check(merged)
            except InvalidParams as error:
                each = error.extra.get("errors") or [_bad("", str(error))]
                errors += [_bad(f"plugin_settings.{name}.{bad['field']}", bad["message"]) for bad in each]
        return dict(given)


def _wrong(place: str, param: str, values: Row, declared: Row, schema: Row, definitions: Row) -> list[Row]:
    """What is wrong with the admin's `values` of one parameter."""
    errors = []
    if unknown := values.keys() - set(discovery.OVERRIDABLE):
        text = f"{', '.join(sorted(unknown))[:100]} cannot be set; default, minimum, maximum and step can be."
        errors.append(_bad(place, f"{param}: {text}"))
    numbers = {key: values[key] for key in ("minimum", "maximum", "step") if key in values}
    if numbers and not discovery.numeric(schema):
        return [*errors, _bad(place, f"{param} is no number: only its default can be set.")]
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or (key == "step" and value <= 0):
            what = "a number over 0" if key == "step" else "a number"
            errors.append(_bad(f"{place}.{key}", f"{param}: {key} has to be {what}, got {str(value)[:100]!r}."))
    if errors:
        return errors
    low, high = (values.get(key, declared.get(key)) for key in ("minimum", "maximum"))
    for key, wider in (("minimum", lambda own, theirs: own < theirs), ("maximum", lambda own, theirs: own > theirs)):
        if key in values and key in declared and wider(values[key], declared[key]):
            text = f"the plugin's own {key} is {declared[key]}, and what it does not take cannot be allowed"
            errors.append(_bad(f"{place}.{key}", f"{param}: {text}; got {values[key]}."))
    if low is not None and high is not None and low > high:
        errors.append(_bad(place, f"{param}: the minimum of {low} is over the maximum of {high}."))
    if errors or not {"default", "minimum", "maximum"} & values.keys():
        return errors
    default = values.get("default", declared.get("default"))
    whole = {key: value for key, value in schema.items() if key not in discovery.OVERRIDABLE}
    whole |= {key: bound for key, bound in (("minimum", low), ("maximum", high)) if bound is not None}
    if "default" in values or default is not None:
        validator = jsonschema.Draft202012Validator(whole | {"$defs": definitions})
        if problem := jsonschema.exceptions.best_match(validator.iter_errors(default)):
            hint = "" if "default" in values else " Say another default, too."
            text = f"{param}: the default does not fit: {problem.message[:300]}.{hint}"
            errors.append(_bad(f"{place}.default", text))
    return errors


def _bad(field: str, message: str) -> Row:
    return {"field": field, "message": message}
