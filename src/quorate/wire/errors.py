"""What the other side of a connection did wrong.

These are the peer's faults: they cost the peer its connection and nothing else. Misuse by our own
code is an `assert`.
"""


class ProtocolError(Exception):
    """The other side of a RESP connection broke the protocol; the connection is to be closed.

    The text is what Redis answers in the same case, as far as Redis has one, without the code
    `ERR` in front.

    Attributes:
        requests: the whole requests that came before the fault in the same bytes. They are to be
            answered before the error is. Always empty for replies.
    """

    def __init__(self, text: str, requests: list[list[bytes]] | None = None) -> None:
        super().__init__(text)
        self.requests = [] if requests is None else requests


class PeerProtocolError(Exception):
    """Another server broke the protocol between servers; the text says who and how."""


class PeerRefusedError(PeerProtocolError):
    """Another server told us that it does not talk to us; the text has its reason.

    Attributes:
        was_removed: whether the reason is that this server was removed from the cluster.
    """

    def __init__(self, text: str, *, was_removed: bool = False) -> None:
        super().__init__(text)
        self.was_removed = was_removed
