"""How the leader finds out that a learner has caught up with its log (dissertation §4.2.1).

"Each round replicates all the log entries present in the leader's log at the start of the round
to the new server's log. The algorithm waits a fixed number of rounds [...]. If the last round lasts
less than an election timeout, then the leader adds the new server to the cluster, under the
assumption that there are not enough unreplicated entries to create a significant availability gap."

Here there are as many rounds as it takes: whoever added the learner can see how far it is, and
remove it again.
"""


class CatchingUp:
    """The rounds of one learner.

    Args:
        last_index: of the leader's log, as the first round begins.
        now: in microseconds.
    """

    def __init__(self, *, last_index: int, now: int) -> None:
        self._round_end = last_index
        self._begun_at = now
        self.is_done = False
        """Whether the last round lasted less than an election timeout."""

    def has_caught_up(self, now: int, limit_us: int) -> bool:
        """Whether the last round was short enough, and the present one is not too long already.

        The present one is too long if the learner is out of touch, or was and has come back: what
        it had before it left says nothing of what it lacks since.
        """
        return self.is_done and now - self._begun_at < limit_us

    def advance(self, match_index: int, *, last_index: int, now: int, limit_us: int) -> None:
        """The learner's log is equal to the leader's up to `match_index`.

        Args:
            match_index: up to there.
            last_index: of the leader's log, where the next round would end.
            now: in microseconds.
            limit_us: how long a round may last; an election timeout.
        """
        if match_index < self._round_end:
            return
        self.is_done = now - self._begun_at < limit_us
        self._round_end, self._begun_at = last_index, now
