"""The settings of the core: timeouts, the options of the algorithm, and its limits."""

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How one server runs Raft. All servers of a cluster should have the same settings.

    Attributes:
        election_timeout_us: the least time without a leader before an election; each wait is
            drawn from [1, 2) times this. Also how long a leader goes on without a majority.
        heartbeat_interval_us: how long a leader stays silent towards a follower at most.
        append_timeout_us: after this time an unanswered AppendEntries counts as lost, and at
            first a piece of a snapshot too.
        forward_timeout_us: after this time an unanswered forwarded proposal counts as lost.
        max_appends_in_flight: AppendEntries with entries that may be unanswered, per follower.
        max_append_bytes: entries in one AppendEntries, with their headers; one always fits.
        max_write_bytes: entries in one write to the log, with their headers; one always fits.
            What has gathered while a disk was stalled is written in portions.
        max_committed_bytes: committed entries that are given out at once, with their headers, so
            that a long log is not applied in one go while messages wait; one always fits.
        max_held_messages: messages that wait for a write to be durable. Beyond it, the one that
            has waited longest is dropped: to the other side it is a lost message.
        max_chunk_bytes: of a snapshot, in one InstallSnapshot; one is under way to each follower.
        trailing_bytes: entries that stay in the log although a snapshot covers them, with their
            headers: a follower that is a little behind needs no snapshot.
        pre_vote: ask before raising the term (dissertation §9.6).
        check_quorum: a leader without a majority steps down, and a vote is refused while a
            leader is heard (dissertation §6.2, §4.2.3).
        no_op: a new leader begins its term with an empty entry (Raft §8). Without it, reads
            must go through the log until the term has a committed entry.
        forwarding: a server that does not lead passes proposals and reads on to the leader. If
            not, it asks nothing of the leader: who wants something must go there himself.
    """

    election_timeout_us: int = 500_000
    heartbeat_interval_us: int = 100_000
    append_timeout_us: int = 250_000
    forward_timeout_us: int = 1_000_000
    max_appends_in_flight: int = 8
    max_append_bytes: int = 1024 * 1024
    max_write_bytes: int = 8 * 1024 * 1024
    max_committed_bytes: int = 256 * 1024
    max_held_messages: int = 1024
    max_chunk_bytes: int = 512 * 1024
    trailing_bytes: int = 0
    pre_vote: bool = True
    check_quorum: bool = True
    no_op: bool = True
    forwarding: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_interval_us < self.election_timeout_us:
            raise ValueError(
                "heartbeat_interval_us must be positive and below election_timeout_us; "
                f"got {self.heartbeat_interval_us} and {self.election_timeout_us}"
            )
        if self.append_timeout_us <= 0 or self.forward_timeout_us <= 0:
            raise ValueError(
                "append_timeout_us and forward_timeout_us must be positive; "
                f"got {self.append_timeout_us} and {self.forward_timeout_us}"
            )
        for name in (
            "max_appends_in_flight",
            "max_append_bytes",
            "max_write_bytes",
            "max_committed_bytes",
            "max_held_messages",
            "max_chunk_bytes",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.trailing_bytes < 0:
            raise ValueError(f"trailing_bytes must not be negative; got {self.trailing_bytes}")
