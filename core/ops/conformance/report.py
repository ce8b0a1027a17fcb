"""What a test of a plugin has found: one line for each claim."""

from collections.abc import Callable
from dataclasses import dataclass, field

from core.ops.discovery import printable


@dataclass
class Report:
    say: Callable[[str], None]
    failed: list[str] = field(default_factory=list)
    passed: int = 0
    untried: int = 0

    def passes(self, claim: str, seconds: float | None = None) -> None:
        self.passed += 1
        self._line("passed", claim if seconds is None else f"{claim} ({seconds:.1f} s)")

    def fails(self, claim: str, what: str, hint: str = "") -> None:
        """`hint` is what to do about it."""
        what = what.rstrip(".")
        self.failed.append(f"{claim}: {what}")
        self._line("failed", f"{claim}: {what}. {hint}".rstrip())

    def leaves(self, claim: str, why: str) -> None:
        self.untried += 1
        self._line("not tried", f"{claim}: {why}")

    def _line(self, verdict: str, text: str) -> None:
        self.say(f"{verdict:<9}  " + printable(" ".join(text.split())))

    def sum(self) -> str:
        return f"{self.passed} passed, {len(self.failed)} failed, {self.untried} not tried"
