"""How a prompt for several drawings is read: {what all of them show}first;second;(third, which weighs more:1.21)"""

import re
from dataclasses import dataclass

from core.plugin import InvalidParams

MOST = 100  # that a part may weigh
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)\s*")
KEPT = re.compile(r"(<[^<>]*>|\\.)")
PLAIN = str.maketrans("", "", "():")
ESCAPED = str.maketrans({mark: f"\\{mark}" for mark in "()[]\\"})


@dataclass(frozen=True)
class Part:
    """A drawing: its prompt, and how many times `cfg_scale` it is drawn with; `text` is its group as it is written."""

    text: str
    weight: float
    prompt: str
    factor: float


def one_line(prompt: str) -> str:
    return " ".join(line.strip() for line in prompt.splitlines() if line.strip())


def parts_of(prompt: str, weights: str = "cfg", syntax: str = "head") -> list[Part]:
    """Raises InvalidParams where braces do not fit together, nothing is left, or a weight is no number.

    `weights`: "cfg" multiplies the CFG scale, "attention" weighs the words. `syntax`: "head" reads the weight of a
    group, "seed_commit" that of the whole prompt, of which it draws everything, brackets too."""
    shared, groups = _split(one_line(prompt))
    parts = []
    for number, group in enumerate(groups, 1):
        joined = f"{shared},{group}" if shared else group
        text, weight = (group, weight_of_all(joined, number)) if syntax == "seed_commit" else weighted(group, number)
        if abs(weight) > MOST:
            raise InvalidParams(
                f"prompt: part {number}, {group[:80]!r}, weighs {weight:g}, more than {MOST}.", field="prompt",
                hint="Usual weights are 0.5 to 1.5.",
            )  # fmt: skip
        if syntax == "seed_commit":
            plain = joined.translate(ESCAPED) if weights == "cfg" else joined
            parts.append(Part(group, weight, plain, weight if weights == "cfg" else 1))
            continue
        shown = f"({text}:{weight:g})" if weights == "attention" and weight != 1 else text
        parts.append(Part(group, weight, f"{shared},{shown}" if shared else shown, weight if weights == "cfg" else 1))
    return parts


def _split(prompt: str) -> tuple[str, list[str]]:
    """What all drawings share, and the groups; empty ones do not count."""
    opened, closed = prompt.count("{"), prompt.count("}")
    if opened != closed or opened > 1 or prompt.find("}") < prompt.find("{"):
        raise InvalidParams(
            f"prompt: one pair of braces holds what all parts share, got {opened} {{ and {closed} }}.", field="prompt",
            hint="Write {a castle}in spring;in autumn, or leave the braces out. To choose at random, expand it before.",
        )  # fmt: skip
    shared, _, rest = prompt.replace("{", "").rpartition("}")
    groups = [group.strip() for group in rest.split(";") if group.strip()]
    if not groups:
        raise InvalidParams(
            "prompt: there is no part to draw.", field="prompt",
            hint="Write the parts behind the braces, with ; between them: {a castle}in spring;in autumn.",
        )  # fmt: skip
    return shared.strip(), groups


def weighted(group: str, number: int = 1) -> tuple[str, float]:
    """(text, weight): (text:1.21) weighs that, ((text)) 1.1 for each pair around all of it. Where brackets are not in
    pairs, they and colons go, and it weighs 1. What <is a network:0.8> or \\(escaped\\) counts as letters."""
    seen = KEPT.sub(lambda found: "x" * len(found[0]), group)
    colon = seen.find(":")
    if colon >= 0 and seen.endswith(")") and "," not in seen[colon:]:
        return _plain(group[:colon]), _number(group[colon + 1 :].rstrip(")"), group, number)
    if seen.count("(") != seen.count(")"):
        return _plain(group), 1.0
    pairs = _around(seen)
    return group[pairs : len(group) - pairs].strip(), by_pairs(pairs)


def _plain(text: str) -> str:
    """Without brackets and colons."""
    parts = KEPT.split(text)  # every other one is kept
    return "".join(part if k % 2 else part.translate(PLAIN) for k, part in enumerate(parts)).strip()


def by_pairs(count: int) -> float:
    return round(1.1 ** min(count, 1_000), 5)


def weight_of_all(joined: str, number: int = 1) -> float:
    """What the first published version reads from group and shared text together."""
    if ":" in joined:
        return _number(joined.split(":")[1].rstrip(")"), joined, number)
    return by_pairs(joined.count("(")) if joined.count("(") == joined.count(")") else 1.0


def _around(group: str) -> int:
    """How many pairs of brackets hold all of it: none in "(a) or (b)"."""
    leading, trailing = len(group) - len(group.lstrip("(")), len(group) - len(group.rstrip(")"))
    depth = lowest = leading
    for mark in group[leading : len(group) - trailing]:
        depth += (mark == "(") - (mark == ")")
        lowest = min(lowest, depth)
    return max(0, min(leading, trailing, lowest))


def _number(text: str, group: str, number: int) -> float:
    if not NUMBER.fullmatch(text):
        raise InvalidParams(
            f"prompt: part {number}, {group[:80]!r}, has {text.strip()[:40]!r} where its weight stands.",
            field="prompt",
            hint="Write (text:1.21), with a number after the first colon, or leave out the brackets around all of it.",
        )  # fmt: skip
    return round(float(text), 5)
