"""How tags are written as text."""

import re
from typing import TYPE_CHECKING

from .tagging import Tags

if TYPE_CHECKING:
    from . import TagParams


def worded(found: Tags, params: "TagParams") -> str:
    """With commas between them; the rating, if it is wanted, comes first."""
    unwanted = {_plain(each) for each in params.exclude.split(",")}
    chances = {tag: chance for tag, chance in found.said.items() if _plain(tag) not in unwanted}
    likely = sorted(chances, key=lambda tag: -chances[tag])[: params.most or None]
    tags = {
        "likely": likely,
        "alphabet": sorted(likely, key=str.lower),
        "model": [tag for tag in chances if tag in {*likely}],
    }[params.sort]
    written = [written_tag(tag, chances[tag], params) for tag in tags]
    if params.rating and found.rating:
        rating = max(found.rating, key=found.rating.get)
        written.insert(0, written_tag(rating, found.rating[rating], params))
    return ", ".join(written)


def written_tag(tag: str, chance: float, params: "TagParams") -> str:
    text = tag.replace("_", " ") if params.spaces and not is_face(tag) else tag
    text = re.sub(r"([\\()])", r"\\\1", text) if params.escape else text
    return f"({text}:{chance:.2f})" if params.weights else text


def is_face(tag: str) -> bool:
    """Whether a tag is a face made of signs, such as ^_^, o_o or <|>_<|>, in which the underscore is the mouth."""
    left, mouth, right = tag.partition("_")
    return bool(mouth) and not any(re.search(r"[^\W_]{2}", side) for side in (left, right)) and len(tag) < 10


def _plain(tag: str) -> str:
    return tag.strip().lower().replace(" ", "_").replace("\\", "")
