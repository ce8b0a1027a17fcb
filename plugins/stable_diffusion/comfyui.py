"""How ComfyUI's graph of a picture becomes A1111's text: found from the picture back, along the links of the nodes.

A graph, as in the PNG's `prompt`, is {id: {"class_type": ..., "inputs": {name: a value or a link [id, output]}}}."""

import math
import re
from collections import deque
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import Any

from .forms import named
from .infotext import infotext

Node = dict[str, Any]
EMBEDDING = re.compile(r"\bembedding:([^\s,:()]+)")
WEIGHTS = re.compile(r"\.(safetensors|ckpt|pth|pt|bin)$")
OUTPUTS = ("Save", "Preview")  # how the names of nodes begin where a picture leaves the graph
TEXTS = ("text", "string", "value", "prompt", "text_g")  # where a node may keep a text
NUMBERS = ("value", "seed", "noise_seed", "int", "float", "number")  # and a number
CONDITIONINGS = ("positive", "conditioning", "conditioning_1", "conditioning_to")
JOINS = {("conditioning_1", "conditioning_2"): " AND ", ("conditioning_to", "conditioning_from"): " BREAK "}
LATENTS = ("latent_image", "samples", "latent", "pixels", "image", "images")
SCHEDULERS = {
    "KarrasScheduler": "karras", "ExponentialScheduler": "exponential", "PolyexponentialScheduler": "polyexponential",
}  # fmt: skip
UPSCALERS = {"bilinear": "Latent", "bicubic": "Latent (bicubic)", "nearest-exact": "Latent (nearest-exact)"}
TRANSLATED = {
    "CheckpointLoader", "CheckpointLoaderSimple", "CLIPSetLastLayer", "CLIPTextEncode", "ConditioningCombine",
    "ConditioningConcat", "EmptyLatentImage", "HypernetworkLoader", "KSamplerSelect", "BasicScheduler", "CFGGuider",
    "LatentUpscale", "LatentUpscaleBy", "LoadImage", "LoadImageMask", "LoraLoader", "LoraLoaderModelOnly",
    "RandomNoise", "RescaleCFG", "SetLatentNoiseMask", "VAEDecode", "VAEEncode", "VAEEncodeForInpaint",
    "ImageScale", "ImageScaleBy", "BasicGuider", "PrimitiveInt", "PrimitiveFloat", "PrimitiveString",
    "PrimitiveStringMultiline", *SCHEDULERS,
}  # fmt: skip
MAX_NOTES, MAX_LINKS = 20, 100  # nodes that a note names, links that are followed for one value


def infotext_of(graph: dict[str, Any]) -> tuple[str | None, list[str]]:
    """A1111's text for the picture that a graph draws, None if it samples none; and notes on what could not be
    translated. ComfyUI's rule for steps is our `fix_steps`, its noise is the CPU's."""
    graph = {key: node for key, node in graph.items() if _is_node(node)}
    samplers = _samplers(graph)
    if not samplers:
        return None, ["ComfyUI's graph has no sampler that is known here."] if graph else []
    notes: list[str] = []
    if len(samplers) > 1:
        notes.append("The graph draws several pictures and does not say which this is. The first was taken.")
    text = _infotext(graph, samplers[0], notes)
    strange = {node["class_type"][:100]: None for node in _upstream(graph, samplers[0]) if not _samples(node)}
    unknown = [name for name in strange if name not in TRANSLATED]
    notes += [f"The node {name} has no counterpart here." for name in unknown[:MAX_NOTES]]
    return text, list(dict.fromkeys(notes))


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _samples(node: Node) -> bool:
    return {"latent_image"} <= node["inputs"].keys() and bool({"cfg", "guider"} & node["inputs"].keys())


def _samplers(graph: dict[str, Node]) -> list[Node]:
    """The last sampler before each output; if there are no outputs, those that no other one follows."""
    ends = [node for node in graph.values() if node["class_type"].startswith(OUTPUTS)]
    last = [next(filter(_samples, _upstream(graph, end)), None) for end in ends[:20]]
    if not any(last):
        every = [node for node in graph.values() if _samples(node)][:20]
        inner = {id(other) for node in every for other in list(_upstream(graph, node))[1:]}
        last = [node for node in every if id(node) not in inner]
    return list({id(node): node for node in last if node}.values())


def _upstream(graph: dict[str, Node], node: Node, names: tuple[str, ...] = ()) -> Iterator[Node]:
    """A node and those that feed it, the nearest first; along all links, or only along inputs with these names."""
    queue, seen = deque([node]), {id(node)}
    while queue:
        node = queue.popleft()
        yield node
        for name, value in node["inputs"].items():
            source = _linked(graph, value) if not names or name in names else None
            if source and id(source) not in seen:
                seen.add(id(source))
                queue.append(source)


def _linked(graph: dict[str, Node], value: Any) -> Node | None:
    """The node that a link leads to, None if the value is no link."""
    return graph.get(value[0]) if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) else None


def _infotext(graph: dict[str, Node], last: Node, notes: list[str]) -> str:
    """One pass, or the first of two, which is hires fix: the second begins with the latents of the first."""
    nodes = filter(_samples, _upstream(graph, last, LATENTS))
    passes = [Pass(graph, node) for node in islice(nodes, MAX_LINKS)]
    if any(each.continues for each in passes):
        notes.append("A pass goes on where the one before has stopped; only the first was translated.")
    passes = [each for each in passes if not each.continues] or passes
    second, first = passes[0], passes[-1]
    if len(passes) > 2:
        notes.append("The picture was drawn in more than two passes; the first and the last were translated.")
    if first is not second and first.redraws:
        notes.append("A picture was redrawn in several passes; only the last was translated.")
        first = second
    prompts = [first.prompt(kind) for kind in ("positive", "negative")]
    networks = " ".join(first.networks())
    if any("[" in text for text in prompts):
        notes.append("Square brackets are text in ComfyUI. Here they are read as A1111 does; write \\[ for them.")
    fields = first.fields(notes) | first.latents(notes)
    if first is not second:
        fields |= _hires(first, second, prompts, notes)
    given = {key: value for key, value in fields.items() if value is not None}
    more = {"RNG": "CPU", "Emphasis": "ComfyUI", "Version": "ComfyUI"}
    return infotext(f"{prompts[0]} {networks}".strip() if networks else prompts[0], prompts[1], given | more)


def _hires(first: "Pass", second: "Pass", prompts: list[str], notes: list[str]) -> dict[str, Any]:
    """The fields of the second pass, as far as it differs from the first."""
    before, after = first.fields(notes), second.fields(notes)
    texts = [second.prompt(kind) for kind in ("positive", "negative")]
    if before["Seed"] != after["Seed"]:
        notes.append("The second pass had a seed of its own; here both have that of the first.")
    names = {"Sampler": "Hires sampler", "Schedule type": "Hires schedule type", "CFG scale": "Hires CFG Scale"}
    return {
        "Hires steps": after["Steps"],
        "Denoising strength": 1 if second.number("denoise") is None else second.number("denoise"),
        **{ours: after[key] for key, ours in names.items() if after[key] != before[key]},
        "Hires prompt": texts[0] if texts[0] != prompts[0] else None,
        "Hires negative prompt": texts[1] if texts[1] != prompts[1] else None,
        **second.enlargement(),
    }


class Pass:
    """One run of a sampler: the node, and those that hold its settings if it has several."""

    def __init__(self, graph: dict[str, Node], node: Node):
        self._graph = graph
        holders = (_linked(graph, node["inputs"].get(name)) for name in ("noise", "guider", "sampler", "sigmas"))
        self._nodes = [node, *filter(None, holders)]
        self._latents = _linked(graph, node["inputs"].get("latent_image"))
        way = _upstream(graph, self._latents, LATENTS) if self._latents else iter(())
        self._way = list(takewhile(lambda each: not _samples(each), way))  # to the pass before, or the beginning

    @property
    def continues(self) -> bool:
        return self._setting("add_noise") in ("disable", False)

    @property
    def redraws(self) -> bool:
        """Whether it begins with a picture."""
        return any("pixels" in node["inputs"] for node in self._way)

    def number(self, *names: str) -> int | float | None:
        """The first setting with one of these names, if it is a finite number."""
        return next((value for value in map(self._setting, names) if _is_number(value)), None)

    def _setting(self, name: str) -> Any:
        node = next((node for node in self._nodes if name in node["inputs"]), None)
        return node and _value(self._graph, node, name)

    def _source(self, name: str) -> Node | None:
        return next(filter(None, (_linked(self._graph, node["inputs"].get(name)) for node in self._nodes)), None)

    def _models(self) -> list[Node]:
        """The nodes that the model comes through, the checkpoint last."""
        source = self._source("model")
        return list(_upstream(self._graph, source, ("model",))) if source else []

    def fields(self, notes: list[str]) -> dict[str, Any]:
        """What A1111's fields are for this pass alone; None where it does not say."""
        steps, start, end = (self.number(name) for name in ("steps", "start_at_step", "end_at_step"))
        if start or (_is_number(end) and _is_number(steps) and end < steps):
            notes.append(f"Only the steps from {start or 0} to {end} of {steps} were run; here it is all of them.")
        schedules = [SCHEDULERS[node["class_type"]] for node in self._nodes if node["class_type"] in SCHEDULERS]
        guided = any("cfg" in node["inputs"] for node in self._nodes)
        rescales = [node for node in self._models() if node["class_type"] == "RescaleCFG"]
        return {
            "Steps": steps,
            **named(self._setting("sampler_name"), schedules[0] if schedules else self._setting("scheduler")),
            "CFG scale": self.number("cfg") if guided else 1,
            "Seed": self.number("seed", "noise_seed"),
            "Model": self._checkpoint(),
            "Clip skip": self._clip_skip(),
            "Schedule max sigma": self.number("sigma_max"),
            "Schedule min sigma": self.number("sigma_min"),
            "Schedule rho": self.number("rho"),
            "CFG rescale": _number(self._graph, rescales[0], "multiplier") if rescales else None,
        }

    def latents(self, notes: list[str]) -> dict[str, Any]:
        """The fields of what it begins with: empty latents of a size, or a picture, perhaps with a mask."""
        batches = [_number(self._graph, node, "batch_size") or 1 for node in self._way]
        if any(count != 1 for count in batches):
            notes.append("It was one of a batch. Only the first of these has the noise that its seed makes here.")
        denoise, size = self.number("denoise"), next(iter(self._sizes()), None)
        if not self.redraws:
            if denoise not in (None, 1):
                notes.append("It was drawn with a denoise below 1 from empty latents; here it is drawn in full.")
            return {"Size": size}
        notes += [
            f"It was made from the picture {str(node['inputs']['image'])[:100]!r}."
            for node in self._way
            if isinstance(node["inputs"].get("image"), str)
        ]
        masked = any({"mask", "noise_mask"} & node["inputs"].keys() for node in self._way)
        inpaint = {"Mask blur": 0, "Masked content": "original"} if masked else {}
        return {"Size": size, "Denoising strength": 1 if denoise is None else denoise, "Fix steps": True} | inpaint

    def _sizes(self) -> list[str]:
        """The sizes that its latents had on their way, the latest first."""
        sides = ([_number(self._graph, node, side) for side in ("width", "height")] for node in self._way)
        return [f"{int(width)}x{int(height)}" for width, height in sides if width and height]

    def enlargement(self) -> dict[str, Any]:
        """How its latents, or the picture, were made larger than those of the pass before."""
        factors = [_number(self._graph, node, "scale_by") for node in self._way]
        methods = [_value(self._graph, node, "upscale_method") for node in self._way]
        method = next((name[:100] for name in methods if isinstance(name, str)), "bilinear")
        size = next(iter(self._sizes()), None)
        return {
            "Hires upscale": None if size else math.prod(factor for factor in factors if factor),
            "Hires resize": size,
            "Hires upscaler": "Lanczos" if self.redraws else UPSCALERS.get(method, f"Latent ({method})"),
        }

    def prompt(self, kind: str) -> str:
        """The texts behind the input `kind`, "positive" or "negative", put together in A1111's words."""
        source = self._source(kind) or (self._source("conditioning") if kind == "positive" else None)
        return self._text(source, kind, set())

    def _text(self, node: Node | None, kind: str, seen: set[int]) -> str:
        if not node or id(node) in seen or len(seen) >= MAX_LINKS:
            return ""
        seen.add(id(node))
        inputs = node["inputs"]
        if "clip" in inputs:
            text = next((_value(self._graph, node, name) for name in TEXTS if name in inputs), "")
            return EMBEDDING.sub(lambda name: _stem(name[1]), text) if isinstance(text, str) else ""
        for names, word in JOINS.items():
            if names[0] in inputs:
                texts = [self._text(_linked(self._graph, inputs.get(name)), kind, seen) for name in names]
                return word.join(texts)
        return self._text(_linked(self._graph, inputs.get(kind, inputs.get("conditioning"))), kind, seen)

    def networks(self) -> list[str]:
        """<lora:...> and <hypernet:...>, in the order in which they are applied."""
        found = []
        for node in reversed(self._models()):
            lora, hyper = (_value(self._graph, node, f"{kind}_name") for kind in ("lora", "hypernetwork"))
            model, text, strength = (
                _number(self._graph, node, name) for name in ("strength_model", "strength_clip", "strength")
            )
            if isinstance(lora, str) and _is_number(model):
                text = 0 if text is None else text
                weights = f"{model:g}" if text == model else f"{text:g}:{model:g}"
                found.append(f"<lora:{_stem(lora)}:{weights}>")
            elif isinstance(hyper, str) and _is_number(strength):
                found.append(f"<hypernet:{_stem(hyper)}:{strength:g}>")
        return found

    def _checkpoint(self) -> str | None:
        keys = ("ckpt_name", "model_path")
        names = (_value(self._graph, node, key) for node in self._models() for key in keys)
        return next((name.replace("\\", "/")[:300] for name in names if isinstance(name, str)), None)

    def _clip_skip(self) -> int | float | None:
        source = self._source("positive") or self._source("conditioning")
        way = _upstream(self._graph, source, (*CONDITIONINGS, "clip")) if source else ()
        layers = (_number(self._graph, node, "stop_at_clip_layer") for node in way)
        return next((-layer for layer in layers if layer), None)


def _value(graph: dict[str, Node], node: Node, name: str) -> Any:
    """An input of a node; behind a link, what the node there keeps, if it keeps one value."""
    for _ in range(MAX_LINKS):
        value = node["inputs"].get(name)
        node = _linked(graph, value)
        if node is None:
            return value
        name = next((each for each in (*TEXTS, *NUMBERS) if each in node["inputs"]), "")
    return None


def _number(graph: dict[str, Node], node: Node, name: str) -> int | float | None:
    value = _value(graph, node, name)
    return value if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) < 1e30


def _stem(name: str) -> str:
    return WEIGHTS.sub("", re.split(r"[\\/]", name)[-1])[:300]
