"""A connection between two servers: bytes in, messages out, and the other way round.

Each side begins with `MAGIC` and a `Hello`; then messages follow in frames. What is received
before this server has accepted the other is kept back, so that no message of a stranger, or of a
server that has lost its data, can be taken for a member's.

                 hello arrives          accept()
    AWAITING_HELLO -------> AWAITING_VERDICT -----> OPEN
          |                        |                 |
          +------------------------+-----------------+---> CLOSED
              the other side breaks the protocol, or refuses us, or refuse()

Whether to accept is `peer_hello.refuse_reason`'s question, asked by whoever knows the cluster; what
the messages mean is not known here.
"""

import enum
from typing import NoReturn

from quorate.codec.errors import DecodeError
from quorate.codec.peer import decode_message, encode_message
from quorate.raft.messages import PeerMessage
from quorate.wire.errors import PeerProtocolError, PeerRefusedError
from quorate.wire.peer_frame import FrameError, FrameKind, FrameReader, encode_frame
from quorate.wire.peer_hello import (
    MAX_HELLO_BYTES,
    Hello,
    Refusal,
    decode_hello,
    decode_refusal,
    encode_hello,
    encode_refusal,
)

MAGIC = b"QUORATE\n"
"""What each side sends first, so that anything else is known for what it is by its first bytes."""

DEFAULT_MAX_FRAME_BYTES = 64 * 1024 * 1024


class _State(enum.Enum):
    AWAITING_HELLO = enum.auto()
    AWAITING_VERDICT = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


class PeerConnection:
    """One end of a connection between servers.

    The side that connects sends `greet()` at once; the other side sends its own when it accepts.
    Each, when `hello` has become known, either calls `accept()`, or sends `refuse(reason)` and
    closes. After a `PeerProtocolError`, close; what still arrives then is ignored.
    """

    def __init__(self, mine: Hello, *, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        """A connection on which nothing was sent or received yet.

        Args:
            mine: what this server says of itself.
            max_frame_bytes: of one message, in either direction. A longer one that arrives is
                refused by its header. It also bounds what is kept back of a server that is not
                accepted yet.
        """
        self._mine = mine
        self._theirs: Hello | None = None
        self._max_frame_bytes = max_frame_bytes
        self._state = _State.AWAITING_HELLO
        self._magic_to_come = MAGIC
        self._frames = FrameReader()
        self._greeted = False
        self._accepted = False

    @property
    def hello(self) -> Hello | None:
        """What the other side says of itself; None until it has."""
        return self._theirs

    def greet(self) -> bytes:
        """The first bytes to be sent, once on each connection."""
        assert not self._greeted
        self._greeted = True
        return MAGIC + encode_frame(FrameKind.HELLO, encode_hello(self._mine))

    def accept(self) -> list[PeerMessage]:
        """Takes the other side for the member that it says it is.

        Returns:
            The messages that came right behind the hello.

        Raises:
            PeerProtocolError: as `receive`.
        """
        assert self._state is _State.AWAITING_VERDICT
        self._state = _State.OPEN
        self._accepted = True
        return self.receive(b"")

    def refuse(self, reason: str, *, was_removed: bool = False) -> bytes:
        """The last bytes to be sent to a server that this one does not talk to.

        Args:
            reason: why.
            was_removed: whether that is because it was removed from the cluster.
        """
        self._state = _State.CLOSED
        magic = b"" if self._greeted else MAGIC
        return magic + encode_frame(FrameKind.REFUSAL, encode_refusal(Refusal(reason, was_removed)))

    def dismiss(self, reason: str) -> bytes:
        """Tells a server that was accepted, and is removed now, why it has to go.

        It sends nothing more then; what it had sent before still arrives.
        """
        assert self._accepted
        return encode_frame(FrameKind.REFUSAL, encode_refusal(Refusal(reason, was_removed=True)))

    def encode(self, message: PeerMessage) -> bytes:
        """The bytes to be sent for a message to a server that was accepted."""
        assert self._accepted
        body = encode_message(message)
        assert len(body) <= self._max_frame_bytes
        return encode_frame(FrameKind.MESSAGE, body)

    def receive(self, data: bytes) -> list[PeerMessage]:
        """Takes bytes in and gives out the messages that they complete.

        None is given out before `accept()`; look at `hello` after each call until it is there.

        Raises:
            PeerRefusedError: the other side does not talk to this server; the text has its reason.
            PeerProtocolError: the other side broke the protocol. Messages that came before that
                in `data` are lost, as messages may be.
        """
        if self._state is _State.CLOSED:
            return []
        try:
            self._frames.feed(self._without_magic(data) if self._magic_to_come else data)
            if self._state is _State.AWAITING_HELLO:
                self._take_hello()
            return self._take_messages() if self._state is _State.OPEN else self._keep_back()
        except (FrameError, DecodeError) as error:
            self._state = _State.CLOSED
            raise PeerProtocolError(
                f"{self._name()} broke the protocol between servers: {error}"
            ) from error

    def _name(self) -> str:
        if self._theirs is not None:
            return f"node {self._theirs.sender}"
        if self._mine.to is not None:  # this side has called; who is there has not been said yet
            return f"the server at the address of node {self._mine.to}"
        return "a stranger"

    def _without_magic(self, data: bytes) -> bytes:
        """What is behind the magic, which may arrive in pieces."""
        expected = self._magic_to_come[: len(data)]
        if not data.startswith(expected):
            raise FrameError(f"not a quorate server, it sent {data[:32]!r}")
        self._magic_to_come = self._magic_to_come[len(expected) :]
        return data[len(expected) :]

    def _take_hello(self) -> None:
        frame = self._frames.next_frame(MAX_HELLO_BYTES)
        if frame is None:
            return
        kind, body = frame
        if kind is not FrameKind.HELLO:
            self._turn_down(kind, body)
        self._theirs = decode_hello(body)
        self._state = _State.AWAITING_VERDICT

    def _keep_back(self) -> list[PeerMessage]:
        """Lets what was received wait for the verdict."""
        pending = self._frames.pending_bytes
        if pending > self._max_frame_bytes:
            limit = self._max_frame_bytes
            raise FrameError(f"{pending} bytes before it was accepted, the limit is {limit}")
        return []

    def _take_messages(self) -> list[PeerMessage]:
        messages = []
        while frame := self._frames.next_frame(self._max_frame_bytes):
            kind, body = frame
            if kind is not FrameKind.MESSAGE:
                self._turn_down(kind, body)
            messages.append(decode_message(body))
        return messages

    def _turn_down(self, kind: FrameKind, body: bytes) -> NoReturn:
        """A frame came that was not expected: a refusal, which may come at any time, or a fault."""
        if kind is not FrameKind.REFUSAL:
            raise FrameError(f"{kind.name} out of turn")
        refusal = decode_refusal(body)
        self._state = _State.CLOSED
        raise PeerRefusedError(
            f"{self._name()} refuses this server: {_printable(refusal.reason)}",
            was_removed=refusal.was_removed,
        )


def _printable(text: str) -> str:
    """The text without what could forge another line of a log."""
    return "".join(character if character.isprintable() else "?" for character in text)
