"""Lives by the dozen: what is counted, what counts as a failure, and how one is made smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.faults import raft_plants, storage_plants
from tests.simulation.test_snapshot_cycle import NODES, Cluster

from quorate.node.node import Node
from quorate.raft.configuration import NodeId
from quorate.raft.core import Raft
from quorate.sim.errors import InvariantError
from quorate.sim.faults import KINDS
from quorate.sim.life import Life, drawn_life
from quorate.sim.memory import check_memory
from quorate.sim.network import Network
from quorate.sim.rare_turns import TURNS, counted_turns
from quorate.sim.runner import live, record, shrink
from quorate.sim.server import SimulatedServer
from quorate.sim.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from quorate.sim.network import Link

LIFE = Life(seed=7, seconds=4)


def faults(life: Life) -> Mapping[str, int]:
    outcome = live(life)
    assert outcome.failure is None
    return outcome.faults


# ---------------------------------------------------------------------- lives


def test_the_life_of_a_seed_is_drawn_from_it_but_for_what_is_given() -> None:
    assert drawn_life(17, seconds=60) == drawn_life(17, seconds=60)
    drawn = [drawn_life(seed, seconds=60) for seed in range(100)]
    assert {life.churn for life in drawn} == {False, True}
    assert len({life.tempo for life in drawn}) > 2
    for churn in (False, True):
        assert drawn_life(17, seconds=5, churn=churn, tempo=3) == Life(
            seed=17, seconds=5, churn=churn, tempo=3
        )


def test_without_one_kind_of_trouble_all_others_come_as_they_came() -> None:
    before = faults(LIFE)
    missing = max(before, key=lambda kind: before[kind])
    after = faults(msgspec.structs.replace(LIFE, without=(missing,)))
    assert missing not in after
    assert after == {kind: count for kind, count in before.items() if kind != missing}


def test_a_client_that_is_left_out_does_nothing() -> None:
    world = World(LIFE)
    assert {"clerk-0", "plain-1", "reader-0"} <= set(world.parts)
    report = World(msgspec.structs.replace(LIFE, without=world.parts)).run()
    assert (report.acknowledged, report.reads) == (1, 0), "but for the newcomer in the end"


def test_at_a_slower_tempo_trouble_is_rarer() -> None:
    quick = faults(msgspec.structs.replace(LIFE, seconds=10))
    slow = faults(msgspec.structs.replace(LIFE, seconds=10, tempo=10))
    assert sum(slow.values()) < sum(quick.values()) / 2


@pytest.mark.parametrize("seed", range(1, 5))
def test_after_it_has_healed_the_world_stays_so(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was begun before goes on: a link that flaps, a leader that is to freeze."""
    healed: list[int] = []
    late: list[str] = []
    heal, cut, pause = Network.heal, Network.cut, SimulatedServer.pause

    def noted_heal(self: Network) -> None:
        heal(self)
        healed.append(1)

    def noted_cut(self: Network, links: Iterable[Link]) -> None:
        links = list(links)
        if len(healed) > 1:
            late.append(f"cut {links}")
        cut(self, links)

    def noted_pause(self: SimulatedServer, duration_us: int) -> None:
        if healed:
            late.append("pause")
        pause(self, duration_us)

    monkeypatch.setattr(Network, "heal", noted_heal)
    monkeypatch.setattr(Network, "cut", noted_cut)
    monkeypatch.setattr(SimulatedServer, "pause", noted_pause)
    others = tuple(kind for kind in KINDS if kind not in ("flap", "freeze leader"))
    assert live(Life(seed=seed, seconds=4, without=others)).failure is None
    assert healed
    assert not late


# ---------------------------------------------------------------------- what is counted


def test_rare_turns_are_counted_while_a_life_lasts_and_not_after_it() -> None:
    functions = [getattr(turn.owner, turn.function) for turn in TURNS]
    outcome = live(LIFE)
    assert [getattr(turn.owner, turn.function) for turn in TURNS] == functions
    assert set(outcome.turns) == {turn.name for turn in TURNS}
    assert outcome.turns["a follower's log ends too early"] > 0


def test_each_turn_and_each_kind_of_trouble_has_a_name_of_its_own() -> None:
    assert len({turn.name for turn in TURNS}) == len(TURNS)
    assert len(set(KINDS)) == len(KINDS)


def test_counting_changes_nothing() -> None:
    alone = World(LIFE).run()
    with counted_turns():
        counted = World(LIFE).run()
    assert alone == counted


# ---------------------------------------------------------------------- failures


@pytest.fixture
def vote_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    raft_plants.the_vote_is_not_persisted(monkeypatch)


@pytest.mark.usefixtures("vote_is_lost")
def test_a_failure_tells_what_where_and_when() -> None:
    failure = live(LIFE).failure
    assert failure is not None
    assert failure.kind == "InvariantError"
    assert "but its disk" in failure.text
    assert failure.where.startswith("durable_record.py:")
    assert 0 < failure.at_us <= 4_000_000


@pytest.mark.usefixtures("vote_is_lost")
def test_a_failing_life_is_made_smaller_and_fails_alike() -> None:
    failed = live(msgspec.structs.replace(LIFE, seconds=20))
    smallest = shrink(failed)
    assert smallest.failure is not None
    assert failed.failure is not None
    assert smallest.failure.where == failed.failure.where
    assert smallest.life.seconds < failed.life.seconds
    assert set(failed.failure.parts) <= set(smallest.life.without), "no client is needed for it"
    assert live(smallest.life).failure == smallest.failure


def test_whatever_the_product_raises_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("as in a bug")

    monkeypatch.setattr(Raft, "_become_leader", broken)
    failure = live(LIFE).failure
    assert failure is not None
    assert (failure.kind, failure.text) == ("ZeroDivisionError", "as in a bug")


@pytest.mark.usefixtures("vote_is_lost")
def test_a_recorded_failure_is_in_the_recording() -> None:
    recording = record(LIFE)
    assert recording.failure is not None
    assert recording.failure.kind == "InvariantError"


def test_a_leak_is_noticed_when_the_world_has_healed(monkeypatch: pytest.MonkeyPatch) -> None:
    leaked: list[bytes] = []
    receive = Node.client_data

    def leaking(self: Node, connection: int, data: bytes, now: int) -> None:
        leaked.append(bytes(bytearray(data)))
        vars(self)["leaked"] = leaked
        receive(self, connection, data, now)

    monkeypatch.setattr(Node, "client_data", leaking)
    failure = live(msgspec.structs.replace(LIFE, seconds=10)).failure
    assert failure is not None
    assert "is idle, has" in failure.text


def test_what_a_node_holds_is_compared_with_its_log_and_its_sessions() -> None:
    world = World(LIFE)
    world.run()
    node = world.nodes[NodeId(1)]
    check_memory(NodeId(1), node, keys=20)
    vars(node)["leaked"] = [object() for _ in range(10_000)]
    with pytest.raises(InvariantError, match="holds 10"):
        check_memory(NodeId(1), node, keys=20)


def test_a_damaged_log_that_is_not_noticed_is_a_failure() -> None:
    cluster = Cluster(seed=1)
    cluster.start()
    server = cluster.servers[NODES[0]]
    with pytest.MonkeyPatch.context() as patches:
        storage_plants.corruption_is_taken_for_a_torn_tail(patches)
        with pytest.raises(InvariantError, match="has not noticed that its log is damaged"):
            server.damage_log()


def test_one_that_is_noticed_costs_the_server_its_disk() -> None:
    cluster = Cluster(seed=1)
    cluster.start()
    server = cluster.servers[NODES[0]]
    before = server.data_id
    assert server.damage_log()
    assert server.data_id != before
    assert not server.is_up
