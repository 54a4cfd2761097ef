"""The tests of the Raft lab in the course's order, each on several kinds of servers."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from quorate.lab import (
    raft_agreement,
    raft_durability,
    raft_elections,
    raft_persistence,
    raft_snapshots,
)
from quorate.lab.scenario import Scenario
from quorate.lab.world import World
from quorate.raft.settings import Settings

PRODUCTION = Settings(election_timeout_us=300_000, no_op=False)
"""PreVote and CheckQuorum, as in production. No no-op: the tests count from the first command."""
FIGURE_2 = Settings(election_timeout_us=300_000, pre_vote=False, check_quorum=False, no_op=False)
"""Nothing but Figure 2 of the paper."""

RAFT_VARIANTS = {
    "figure2": "Raft as in Figure 2 of the paper",
    "production": "Raft with PreVote and CheckQuorum",
    "compacted": "Raft with PreVote and CheckQuorum, and a snapshot after every ten entries",
}
"""What the variants are."""

RaftTest = Callable[[World, Settings], Coroutine[Any, Any, None]]

_TESTS: tuple[tuple[str, RaftTest], ...] = (
    ("TestInitialElection2A", raft_elections.initial_election),
    ("TestReElection2A", raft_elections.reelection),
    ("TestManyElections2A", raft_elections.many_elections),
    ("TestBasicAgree2B", raft_agreement.basic_agree),
    ("TestRPCBytes2B", raft_agreement.rpc_bytes),
    ("TestFollowerFailure2B", raft_agreement.progressive_failure),
    ("TestLeaderFailure2B", raft_agreement.leader_failure),
    ("TestFailAgree2B", raft_agreement.fail_agree),
    ("TestFailNoAgree2B", raft_agreement.fail_no_agree),
    ("TestConcurrentStarts2B", raft_agreement.concurrent_starts),
    ("TestRejoin2B", raft_agreement.rejoin),
    ("TestBackup2B", raft_agreement.backup),
    ("TestCount2B", raft_agreement.count),
    ("TestPersist12C", raft_persistence.persist_1),
    ("TestPersist22C", raft_persistence.persist_2),
    ("TestPersist32C", raft_persistence.persist_3),
    ("TestFigure82C", raft_persistence.figure_8),
    ("TestUnreliableAgree2C", raft_persistence.unreliable_agree),
    ("TestFigure8Unreliable2C", raft_persistence.figure_8_unreliable),
    ("TestReliableChurn2C", raft_persistence.reliable_churn),
    ("TestUnreliableChurn2C", raft_persistence.unreliable_churn),
    # Ours, not the course's.
    ("TestPersistTerm2C", raft_durability.persist_term),
    ("TestPersistVote2C", raft_durability.persist_vote),
    ("TestTwoCandidates2C", raft_durability.two_candidates),
    ("TestFigure8Steps2C", raft_durability.figure_8_steps),
    ("TestSlowFollowers2C", raft_durability.slow_followers),
    ("TestSlowLeader2C", raft_durability.slow_leader),
    ("TestSlowTruncation2C", raft_durability.slow_truncation),
    ("TestOvertakenAppends2C", raft_durability.overtaken_appends),
    ("TestSnapshotBasic2D", raft_snapshots.basic),
    ("TestSnapshotInstall2D", raft_snapshots.install),
    ("TestSnapshotInstallUnreliable2D", raft_snapshots.install_unreliable),
    ("TestSnapshotInstallCrash2D", raft_snapshots.install_crash),
    ("TestSnapshotInstallUnCrash2D", raft_snapshots.install_unreliable_crash),
    ("TestSnapshotAllCrash2D", raft_snapshots.all_crash),
)


def _scenario(name: str, variant: str, test: RaftTest, settings: Settings) -> Scenario:
    part = name[-2:]
    return Scenario(
        name=name,
        part=part,
        variant=variant,
        run=partial(_run, test, settings),
        takes_snapshots=variant == "compacted" or part == "2D",
    )


async def _run(test: RaftTest, settings: Settings, world: World) -> None:
    await test(world, settings)


RAFT_SCENARIOS = (
    *(_scenario(name, "figure2", test, FIGURE_2) for name, test in _TESTS),
    *(_scenario(name, "production", test, PRODUCTION) for name, test in _TESTS),
    *(
        _scenario(name, "compacted", test, PRODUCTION)
        for name, test in _TESTS
        if not name.endswith("2D")
    ),
)
"""All of them, with nothing but Figure 2 and as in production; at last all again but those that are
about snapshots anyway, on servers that take them."""
