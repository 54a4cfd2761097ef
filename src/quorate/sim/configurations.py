"""The configurations that were committed, one after the other, and the rule between them.

"It is safe for each server to use the latest configuration in its log only because any majority of
the old and any majority of the new overlap" (dissertation §4.1): so two that follow each other
differ by one voter at most. And a voter that has lost its data is another one.
"""

from quorate.raft.configuration import Configuration
from quorate.sim.errors import InvariantError


class CommittedConfigurations:
    """All of them, from the one that the cluster was started with.

    Args:
        first: that one.
    """

    def __init__(self, first: Configuration) -> None:
        self._known = [(0, first)]

    @property
    def latest(self) -> Configuration:
        """The one that was committed last."""
        return self._known[-1][1]

    @property
    def latest_index(self) -> int:
        """The index of its entry."""
        return self._known[-1][0]

    @property
    def changes(self) -> int:
        """How many there were after the first."""
        return len(self._known) - 1

    def at(self, index: int) -> Configuration:
        """The one as of a committed entry."""
        return next(known for at, known in reversed(self._known) if at <= index)

    def committed(self, index: int, configuration: Configuration) -> None:
        """The entry of this index, the next one that is a configuration, is committed.

        Raises:
            InvariantError: it must not follow the one before.
        """
        before = self.latest
        gone = set(before.voter_ids) ^ set(configuration.voter_ids)
        if len(gone) > 1 or not configuration.voters:
            raise InvariantError(
                f"the configuration of entry {index} votes with {configuration.voter_ids}, the one "
                f"before it with {before.voter_ids}: more than one voter has changed"
            )
        for member in configuration.voters:
            other = before.member(member.id)
            if other is not None and other.data_id not in ("", member.data_id):
                raise InvariantError(
                    f"the configuration of entry {index} has the voter {member}, the one before "
                    f"it {other}: it has changed its data without being removed"
                )
        self._known.append((index, configuration))
