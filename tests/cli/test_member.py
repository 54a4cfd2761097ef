"""`quorate member`: what it prints, how it fails, and its exit statuses."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.integration.machines import Machine, Machines

pytestmark = pytest.mark.processes

HEADINGS = ["id", "role", "client", "peer", "lacks", "silent", "data", "id"]
NOBODY = "127.0.0.1:1"
NOT_EXECUTED, FAILED, USAGE = 3, 1, 2


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Two nodes that serve; tests leave them so."""
    with Machines(tmp_path_factory.mktemp("machines")) as machines:
        machines.found(2)
        yield machines


def rows_of(table: str) -> list[list[str]]:
    headings, *rows = (line.split() for line in table.splitlines())
    assert headings == HEADINGS
    return rows


def started(cluster: Machines, node: int) -> Machine:
    """A node that waits to be let in."""
    machine = cluster.new(node)
    machine.start(*(f"--join={other.client}" for other in cluster.running))
    cluster.wait_until_up(machine)
    return machine


# ---------------------------------------------------------------------- looking


def test_the_list_has_a_row_for_each_member(cluster: Machines) -> None:
    rows = rows_of(cluster.member("list"))
    leader = cluster.leader(cluster.running)
    for machine, row in zip(cluster.running, rows, strict=True):
        role = "leader" if machine is leader else "voter"
        assert row[:4] == [str(machine.node), role, machine.client, machine.peer]
        assert row[-1] == machine.data_id[:8]
    one, two = rows
    assert {len(one), len(two)} == {5, 8}, "of itself the leader does not tell how far it is"


def test_the_list_as_json_has_all_that_is_known(cluster: Machines) -> None:
    members = json.loads(cluster.member("list", "--json"))
    leader = cluster.leader(cluster.running)
    for machine, member in zip(cluster.running, members, strict=True):
        if machine is not leader:
            assert member.pop("match_index") > 0
            assert member.pop("silent_ms") >= 0
            assert member.pop("is_in_touch") is True
        assert {key: value for key, value in member.items() if value is not None} == {
            "id": machine.node,
            "votes": True,
            "is_promoting": False,
            "peer_address": machine.peer,
            "client_address": machine.client,
            "data_id": machine.data_id,
        }


def test_without_a_leader_it_fails_in_time(cluster: Machines) -> None:
    ended = cluster.quorate("member", "list", f"--servers={NOBODY}", "--timeout=0.2")
    assert (ended.returncode, ended.stdout) == (FAILED, "")
    assert ended.stderr.startswith(f"quorate: error: no leader was found among {NOBODY}: ")


# ---------------------------------------------------------------------- changing


def test_a_life_of_a_member(cluster: Machines) -> None:
    one, two = cluster.running
    new = started(cluster, 3)
    assert cluster.member("add", new.client, "--learner") == "node 3 is a learner"
    assert rows_of(cluster.member("list"))[2][1] == "learner"
    new.kill()
    new.lose_data()
    new.start(*(f"--join={other.client}" for other in (one, two)))
    cluster.wait_until_up(new)
    assert cluster.member("rejoin", new.client) == "node 3 is a learner again"
    assert cluster.member("rejoin", new.client) == "node 3 is a learner", "as before"
    refusal = cluster.member_fails("transfer", 3, status=NOT_EXECUTED)
    assert refusal == "node 3 is no voter, so it cannot lead"
    assert cluster.member("promote", 3) == "node 3 is a voter"
    assert cluster.member("promote", 3) == "node 3 is a voter", "as before"
    assert cluster.member("add", new.client) == "node 3 is a voter", "as before"
    assert cluster.member("add", new.client, "--learner") == "node 3 is a voter", "it still votes"
    assert rows_of(cluster.member("list"))[2][1] in {"voter", "leader"}
    answer = cluster.member("transfer", 3, servers=[one])
    assert answer.startswith("node 3 leads term ")
    assert cluster.leader([one, two, new]) is new
    # The leader goes: another one leads first.
    assert cluster.member("remove", 3, servers=[one]).startswith("node 3 is no member any more")
    assert cluster.members([one, two]) == {1: True, 2: True}
    refusal = cluster.member_fails("remove", 3, status=NOT_EXECUTED, servers=[one])
    assert refusal == "there is no member 3: see `quorate member list`"
    new.stop()


def test_who_was_no_member_is_not_one_again(cluster: Machines) -> None:
    new = started(cluster, 3)
    assert cluster.member("rejoin", new.client) == "node 3 is a voter"
    cluster.remove(new)


def test_a_node_with_a_history_of_its_own_is_not_let_in(cluster: Machines) -> None:
    """Under the same cluster id its log may well look like the leader's, entry for entry."""
    others = cluster.running
    alone = cluster.new(4)
    alone.start("--initialize=c", f"--member=4={alone.peer},{alone.client}")
    cluster.leader([alone])
    try:
        for command in ("add", "rejoin"):
            refusal = cluster.member_fails(command, alone.client, status=FAILED, servers=others)
            assert refusal.startswith(f"node 4 at {alone.client} has a history of its own: ")
            assert refusal.endswith("give it an empty data directory and start it with `--join`")
    finally:
        alone.kill()
    assert cluster.members(others) == {1: True, 2: True}


def test_leadership_goes_to_whoever_is_suited_best(cluster: Machines) -> None:
    before = cluster.leader(cluster.running)
    (other,) = (machine for machine in cluster.running if machine is not before)
    assert cluster.member("transfer").startswith(f"node {other.node} leads term ")


def test_a_node_moves_as_far_as_the_members_know(cluster: Machines) -> None:
    one, two = cluster.running
    taken = cluster.member_fails("set-address", 2, one.client, two.peer)
    assert taken == f"member 1 has the address {one.client}: each needs its own"
    assert cluster.member_fails("set-address", 7, NOBODY, "127.0.0.1:2") == "there is no member 7"
    text = f"node 2 is at {two.client} for clients and at {two.peer} for the other nodes"
    assert cluster.member("set-address", 2, two.client, two.peer) == text


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["promote", 7], NOT_EXECUTED, "there is no learner 7"),
        (["transfer", 7], NOT_EXECUTED, "node 7 is no voter, so it cannot lead"),
        (["add", NOBODY], FAILED, f"{NOBODY} cannot be reached: start the node there"),
        (["rejoin", NOBODY], FAILED, f"{NOBODY} cannot be reached: start the node there"),
        (["add", "nowhere"], USAGE, "Invalid value for 'CLIENTHOST:PORT': "),
        (["set-address", 1, NOBODY, "127.0.0.1:x"], USAGE, "Invalid value for 'PEERHOST:PORT': "),
        (
            ["set-address", 1, "\udcff:1", "127.0.0.1:2"],
            USAGE,
            "Invalid value for 'CLIENTHOST:PORT",
        ),
        (
            ["set-address", 1, "0.0.0.0:1", "127.0.0.1:2"],
            USAGE,
            "Invalid value for 'CLIENTHOST:PORT",
        ),
        (["remove", 0], USAGE, "Invalid value for 'ID': "),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    cluster: Machines, arguments: list[object], status: int, reason: str
) -> None:
    assert cluster.member_fails(*arguments, status=status).startswith(reason)
