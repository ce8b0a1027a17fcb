"""A server in miniature for programs: it keeps children by their keys and lets them end when told."""

import uuid
from pathlib import Path

from core.library.children import Children, Waiting
from tests.inside import context_of, import_as

module = import_as("flowing", Path(__file__).resolve().parents[1])


class World:
    """`make(request)` gives what a child makes: values (texts, numbers ...), or "failed". Inputs in a request are the
    values that the child sees; `reviews` are what a person says, by the value. `remembers`: all runs are in one process
    of the plugin, which knows what it has asked before."""

    remembers = True

    def __init__(self, flow, values=None, make=None, reviews=None, inputs=None):
        self.flow = module.reading.read(flow)
        self.values = self.flow.params(**(values or {})).model_dump() | dict.fromkeys(self.flow.inputs) | (inputs or {})
        self.make = make or (lambda request: [request["key"]])
        self.reviews = {} if reviews is None else reviews
        self.job = uuid.uuid4().hex
        self.children, self.recorded, self.blobs, self.runs = {}, {}, {}, 0

    def ask(self, event, body):
        if event == "children":
            return {"children": [self._told(self._child(request)) for request in body["requests"]]}
        if event == "states":
            known = {child["id"]: child for child in self.children.values()}
            return {"children": [self._told(known[id]) for id in body["ids"]]}
        if event == "once":
            if "value" in body:
                self.recorded.setdefault(body["key"], body["value"])
            return {"value": self.recorded[body["key"]]} if body["key"] in self.recorded else {}
        assert event == "review", event
        return {
            "said": {id: self.reviews[self.blobs[id]] for id in body["artifacts"] if self.blobs[id] in self.reviews}
        }

    def _child(self, request):
        if request["key"] not in self.children:
            child = request | {"id": f"id {len(self.children)}", "state": "queued", "outputs": []}
            self.children[request["key"]] = child
        return self.children[request["key"]]

    def _told(self, child):
        return {
            "id": child["id"],
            "state": child["state"],
            "error": None,
            "outputs": [dict(o) for o in child["outputs"]],
        }

    def seen(self, child):
        """Its inputs, as values; those that are not there yet as the keys of the jobs that make them."""
        return {name: [each for item in items for each in self._seen(item)] for name, items in child["inputs"].items()}

    def _seen(self, item):
        if isinstance(item, str):
            return [self.blobs.get(item, item)]
        source = next((child for child in self.children.values() if child["id"] == item["job"]), None)
        outputs = source["outputs"][item["index"] :][:1] if "index" in item else source["outputs"]
        return [self.blobs[output["id"]] for output in outputs]

    def end(self, *keys):
        """Let these children end, or all that can."""
        for key, child in self.children.items():
            if child["state"] == "queued" and (not keys or key in keys):
                made = self.make(
                    {name: child[name] for name in ("job", "params", "key")} | {"inputs": self.seen(child)}
                )
                child["state"] = "failed" if made == "failed" else "done"
                for value in made if made != "failed" else ():
                    kind = "image" if isinstance(value, str) and value.startswith("picture") else "json"
                    id = f"{key}.{len(child['outputs'])}"
                    self.blobs[id] = value
                    facts = {"seed": child["params"].get("seed")}
                    child["outputs"].append({"id": id, "kind": kind, "sha256": id, "facts": facts})

    def run(self, tmp_path):
        """One run from the top: the values that it returns, or what it waits for."""
        context = context_of(tmp_path, None)
        context._children = Children(self.ask, self.job if self.remembers else "")
        context.read = lambda artifact: self.blobs[artifact.id]
        self.runs += 1
        try:
            return [self.blobs[each.id] for each in module.Running(self.flow, self.values, context).outputs()]
        except Waiting as waiting:
            return waiting

    def through(self, tmp_path, turns=50):
        """Runs until it is done, all children ending in between; returns the values."""
        for _ in range(turns):
            found = self.run(tmp_path)
            if not isinstance(found, Waiting):
                return found
            before = [child["state"] for child in self.children.values()]
            self.end()
            if before == [child["state"] for child in self.children.values()]:
                return found
        raise AssertionError("it never ends")
