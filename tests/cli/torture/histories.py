"""Histories of one key, written by hand."""

from __future__ import annotations

from collections.abc import Mapping

from quorate.checker import Kind
from quorate.cli.torture.judgement import FinalRead, Judgement, judge
from quorate.cli.torture.ledger import Call, Fate, KeyHistory

KEY = b"list2.1"
END = 1_000_000


class Story:
    """What happened to one key that was only appended to, and what is there in the end."""

    def __init__(self) -> None:
        self.history = KeyHistory(KEY, is_register=False)

    def append(
        self,
        element: bytes,
        begun: int,
        ended: int,
        fate: Fate = Fate.ACKNOWLEDGED,
        *,
        length: int | None = None,
        sendings: int = 1,
    ) -> Story:
        call = Call("A", Kind.APPEND, self.history, element, begun)
        call.sendings += [begun + k for k in range(sendings)]
        self.history.begin()
        self.history.end(call.operations(fate, length, ended))
        if fate in (Fate.NOT_EXECUTED, Fate.DISPROVED) and sendings == 1:
            self.history.refused.append(element)
        return self

    def read(self, value: bytes | None, begun: int, ended: int) -> Story:
        call = Call("B", Kind.GET, self.history, None, begun)
        self.history.begin()
        self.history.end(call.operations(Fate.ACKNOWLEDGED, value, ended))
        return self

    def judged(self, *copies: bytes | None) -> Judgement:
        """The judgement, if the nodes hold these values in the end."""
        reads = [final_read({KEY: copy}, END + k) for k, copy in enumerate(copies)]
        return judge([self.history], reads)


def final_read(values: Mapping[bytes, bytes | None], at: int = END) -> FinalRead:
    return FinalRead(values, at, at)
