"""The settings of a Clerk: its limits and its time-outs."""

import msgspec


class ClerkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a Clerk behaves towards its servers. Callers set deadlines, not these.

    Attributes:
        window: writes of one session that may be numbered and not yet settled; not more than the
            servers' own window. Further ones wait.
        max_in_flight: requests without a reply on one connection; further ones wait.
        max_calls: calls under way, those that wait included; further ones are refused.
        connect_timeout_us: for a new connection, and once more for its first answer.
        reply_timeout_us: for how long a connection may stay silent while a reply is due. Longer
            than the servers themselves try (3 s), so that their answer arrives.
        backoff_min_us: the wait after a first failure; it doubles with each further one.
        backoff_max_us: the longest wait. Each is drawn from its upper half.
        leader_check_us: how often to ask who leads and which servers there are, while calls are
            made.
        learns_servers: whether to go to the servers that the cluster names in place of those that
            were given. Without it those remain, but for the leader, who is followed anywhere.
    """

    window: int = 1024
    max_in_flight: int = 2048
    max_calls: int = 16_384
    connect_timeout_us: int = 2_000_000
    reply_timeout_us: int = 5_000_000
    backoff_min_us: int = 10_000
    backoff_max_us: int = 500_000
    leader_check_us: int = 5_000_000
    learns_servers: bool = True

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if name != "learns_servers" and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.backoff_max_us < self.backoff_min_us:
            raise ValueError(
                "backoff_max_us must not be below backoff_min_us; "
                f"got {self.backoff_max_us} and {self.backoff_min_us}"
            )
