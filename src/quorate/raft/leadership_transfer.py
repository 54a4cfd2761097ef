"""A leader hands its leadership over (dissertation §3.10).

It takes in no more proposals, waits until the other server's log is as its own, and tells it to
stand for election at once. If there is no new leader within an election timeout, it goes on as
before.
"""

from quorate.raft.configuration import NodeId


class LeadershipTransfer:
    """A transfer under way.

    Attributes:
        to: the server that is to lead.
        expires_at: when it is given up, in microseconds.
        is_sent: the other server was told to stand.
    """

    def __init__(self, to: NodeId, *, expires_at: int) -> None:
        self.to = to
        self.expires_at = expires_at
        self.is_sent = False
