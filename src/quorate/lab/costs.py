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
        command_us: for a key/value server to take in one command, of a client or forwarded to it;
            those that come meanwhile are done with it. It bounds how much many clients get done
            together.
        turn_us: for a key/value server to get round to what has come; what comes meanwhile is done
            together with it.
        write_us: for one write to the disk to become durable.
        rewrite_us_per_kib: for each write of a key/value server besides, by the size of its whole
            Raft state: the servers that the course's figures come from encode all of it again for
            each write. It is what makes their tests without snapshots ten times as slow as those
            with. A leader of the course writes once for each command, reads included, so one that
            writes several commands at a time is charged as many times.
    """

    hop_us: int
    request_us: int
    command_us: int
    turn_us: int
    write_us: int
    rewrite_us_per_kib: int

    def write_us_at(self, raft_state_size: int, *, times: int) -> int:
        """What one write costs a server that would encode so many bytes so many times."""
        return self.write_us + self.rewrite_us_per_kib * raft_state_size * max(1, times) // 1024


VIRTUAL = Costs(
    hop_us=40, request_us=20, command_us=215, turn_us=25, write_us=85, rewrite_us_per_kib=65
)
"""In virtual time: about what the course's rows amount to."""
NOTHING = Costs(hop_us=0, request_us=0, command_us=0, turn_us=0, write_us=0, rewrite_us_per_kib=0)
"""In real time: the machine charges by itself."""
