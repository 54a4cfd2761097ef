"""Whether a recorded history is linearizable (docs/checker.md)."""

from quorate.checker.history import Kind, Operation
from quorate.checker.search import Outcome
from quorate.checker.verdict import KeyVerdict, Verdict, check

__all__ = ["KeyVerdict", "Kind", "Operation", "Outcome", "Verdict", "check"]
