"""What in a prompt is for people only: from # to the end of the line."""

import re

COMMENT = re.compile(r"(?<!\\)#.*")


def strip(text: str) -> str:
    """`text` without its comments, and without the lines that were nothing else. `\\#` is a mere #."""
    lines = []
    for line in text.split("\n"):
        kept = COMMENT.sub("", line)
        if kept != line and not kept.strip():
            continue
        lines.append((kept if kept == line else kept.rstrip()).replace("\\#", "#"))
    return "\n".join(lines)
