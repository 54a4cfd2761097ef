"""What things cost in virtual time, where nothing takes time by itself.

The course's network delays nothing when it is reliable, and its clients send the next request as
soon as they have an answer: without a charge, no virtual second would ever pass.
"""

import msgspec


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Charges in microseconds.

    Attributes:
        hop_us: for a request or a reply to get to the other side, on average; each takes between
            half and one and a half times this, so they overtake each other now and then.
        request_us: for a server to handle one request; it handles one after another.
        write_us: for one write to the disk to become durable.
    """

    hop_us: int
    request_us: int
    write_us: int


VIRTUAL = Costs(hop_us=40, request_us=60, write_us=150)
"""In virtual time: about what the course's rows amount to."""
NOTHING = Costs(hop_us=0, request_us=0, write_us=0)
"""In real time: the machine charges by itself."""
