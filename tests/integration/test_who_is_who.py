"""Nodes that lost their data, were copied, removed or moved, or belong elsewhere; all real ones."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from tests.integration.eventually import eventually
from tests.integration.machines import Machines

from quorate.runtime.clerk import Clerk

if TYPE_CHECKING:
    from tests.integration.machines import Machine

    from quorate.node.status import MemberStatus

pytestmark = pytest.mark.processes


def await_log(machine: Machine, *texts: str) -> None:
    """Until the node has logged one line with all of these."""

    def is_there() -> bool:
        return any(all(text in line for text in texts) for line in machine.log.splitlines())

    eventually(is_there, f"node {machine.node} logs {texts}")


def serves(machine: Machine, key: str) -> None:
    """A client that knows this node alone is served."""
    with Clerk(machine.client) as clerk:
        length = clerk.append(key, "x", timeout=20)
        assert clerk.get(key, timeout=20) == b"x" * length


def known_to(machine: Machine) -> tuple[MemberStatus, ...]:
    status = machine.status()
    assert status is not None
    return status.members


def test_a_wiped_node_is_refused_until_it_rejoins(machines: Machines) -> None:
    one, two, three = machines.found(3)
    serves(one, "k")
    lost = three.data_id
    three.kill()
    three.lose_data()
    three.start(f"--join={one.client}", f"--join={two.client}")
    await_log(three, "member 3 already, with other data", f"quorate member rejoin {three.client}")
    await_log(three, "node 3 has lost its data", f"{lost!r}", "`quorate member rejoin` it")
    for other in (one, two):
        await_log(other, "node 3 has lost its data", f"{lost!r}", "`quorate member rejoin` it")
    status = machines.wait_until_up(three)
    assert (status.leader, status.members) == (None, ())
    # It answers for nobody: with one more node gone there is no majority.
    refusal = machines.member_fails("add", three.client)
    assert "let it in with `quorate member rejoin`" in refusal
    assert machines.member("rejoin", three.client) == "node 3 is a voter again"
    assert three.data_id != lost
    assert machines.wait_until_following(three).leader is not None
    one.kill()
    serves(three, "k")


def test_a_majority_is_led_though_one_of_it_has_missed_that_another_was_let_in_anew(
    machines: Machines,
) -> None:
    """After a restart of all, the one that was let in has to say so before anything is committed.

    The third cannot lead, as it lacks the last write.
    """
    one, two, three, four, five = machines.found(5)
    four.stop()
    five.stop()
    five.lose_data()
    five.start(f"--join={one.client}")
    machines.wait_until_up(five)
    machines.member("rejoin", five.client, servers=[one, two, three])
    three.stop()
    with Clerk([one.client, two.client]) as clerk:
        clerk.put("k", "v")
    for machine in (one, two, five):
        machine.kill()
    for machine in (three, four, five):
        machine.start()
    with Clerk([three.client, four.client, five.client]) as clerk:
        assert clerk.get("k", timeout=20) == b"v"


def test_a_machine_takes_over_the_number_of_one_that_hangs(machines: Machines) -> None:
    """To the others its power or network may be gone; their connections to it are still there."""
    one, two, three = machines.found(3)
    if machines.leader([one, two, three]) is three:
        machines.member("transfer", "1")
    three.signal(signal.SIGSTOP)
    new = machines.new(3)
    new.start(f"--join={one.client}")
    machines.wait_until_up(new)
    assert machines.member("rejoin", new.client, servers=[one, two]) == "node 3 is a voter again"
    serves(new, "k")


def explained(without: Machine, asked: list[Machine]) -> str:
    """What `quorate explain` says, once the cluster is known not to serve without a dead node."""
    servers = ",".join(machine.client for machine in asked)

    def is_missed() -> str | None:
        ended = Machines.quorate("explain", f"--servers={servers}")
        text = f"voter {without.node} at {without.client} cannot be reached"
        return ended.stdout if ended.returncode == 1 and text in ended.stdout else None

    return eventually(is_missed, f"node {without.node} is missed")


def test_a_wiped_node_counts_for_nobody_in_what_is_explained(machines: Machines) -> None:
    one, two, three = machines.found(3)
    serves(one, "k")
    two.kill()
    three.kill()
    three.lose_data()
    three.start(f"--join={one.client}")
    machines.wait_until_up(three)
    await_log(one, "node 3 has lost its data")
    text = explained(two, [one, two, three])
    assert "2 of the 3 voters are needed, and only 1 of them can be reached from here" in text
    assert f"node 3 at {three.client} has lost its data, and does not count" in text
    assert "`quorate recover`" in text
    assert "rejoin" not in text


def test_a_newcomer_is_not_taken_for_the_member_of_its_number(machines: Machines) -> None:
    one, two, three = machines.found(3)
    serves(three, "k")
    newcomer = machines.new(3)
    while newcomer.client < three.client:  # what is asked last is not to hide what was asked first
        newcomer.move()
    newcomer.start(f"--join={one.client}")
    machines.wait_until_up(newcomer)
    one.kill()
    two.kill()
    text = explained(one, [three, newcomer])
    assert f"voter 2 at {two.client} cannot be reached" in text
    assert "lost its data" not in text


def test_a_mistyped_id_removes_no_member_that_runs(machines: Machines) -> None:
    one, _two, three = machines.found(3)
    serves(one, "k")
    mistyped = machines.new(3)
    mistyped.start(f"--join={one.client}")
    await_log(mistyped, "has a member 3 already, with other data", "another --id")
    machines.wait_until_up(mistyped)
    refusal = machines.member_fails("rejoin", mistyped.client, status=1)
    assert refusal == (
        f"member 3 runs, at {three.client} and with other data: if it is to be replaced, stop it "
        f"first, or do it with --force; if not, start the node at {mistyped.client} with another "
        "--id, on an empty data directory"
    )
    assert {member.id: member.data_id for member in known_to(one)}[3] == three.data_id
    # It was meant so; and the former one still runs.
    assert machines.member("rejoin", mistyped.client, "--force") == "node 3 is a voter again"
    assert {member.id: member.data_id for member in known_to(one)}[3] == mistyped.data_id


def test_nor_one_that_leads(machines: Machines) -> None:
    (one,) = machines.found(1)
    mistyped = machines.new(1)
    mistyped.start(f"--join={one.client}")
    machines.wait_until_up(mistyped)
    refusal = machines.member_fails("rejoin", mistyped.client, status=1, servers=[one])
    assert refusal.startswith(f"member 1 runs, at {one.client} and with other data: ")


def test_a_node_of_a_former_cluster_of_the_same_id_is_not_let_in(machines: Machines) -> None:
    """To Raft its log may look like the leader's: same indexes, same terms, other entries."""
    (one,) = machines.found(1)
    joined = machines.new(2)
    machines.join(joined)
    one.kill()
    joined.kill()
    one.lose_data()
    one.start("--initialize=c", f"--member=1={one.peer},{one.client}")
    machines.wait_until_serving([one])
    joined.start(f"--join={one.client}")
    machines.wait_until_up(joined)
    refusal = machines.member_fails("add", joined.client, status=1, servers=[one])
    assert refusal.startswith(f"node 2 at {joined.client} has a history of its own: ")
    assert machines.members([one]) == {1: True}


@pytest.mark.parametrize("is_in_use", [False, True])
def test_a_copy_of_a_node_is_refused_and_the_node_stays(
    machines: Machines, *, is_in_use: bool
) -> None:
    one, two, three = machines.found(3)
    copy = machines.new(3)
    if is_in_use:
        serves(three, "k")
        shutil.copytree(three.data_dir, copy.data_dir)
    else:
        three.stop()
        shutil.copytree(three.data_dir, copy.data_dir)
        three.start()
        machines.wait_until_following(three)
    copy.start()
    for machine in (copy, one, two):
        await_log(machine, "another process says that it is node 3", "on a copy of its data")
    one.kill()
    serves(three, "k")


def test_a_removed_node_says_so_and_never_comes_back(machines: Machines) -> None:
    one, two, three = machines.found(3)
    answer = machines.member("remove", 3)
    assert answer == "node 3 is no member any more: stop it, if it runs"
    await_log(three, "node 3 was removed from the cluster: stop it")
    three.stop()
    three.start()
    for machine in (three, one, two):
        await_log(machine, "refuse", "node 3 was removed from the cluster", "`quorate member add`")
    machines.wait_until_up(three)
    assert "was removed from the cluster" in machines.member_fails("add", three.client, status=1)
    assert machines.members([one, two]) == {1: True, 2: True}
    three.stop()
    three.lose_data()
    machines.join(three)
    one.kill()
    serves(three, "k")


def test_a_node_that_moves_is_reached_before_and_after_it_is_said(machines: Machines) -> None:
    one, two, three = machines.found(3)
    three.stop()
    three.move()
    three.start()
    await_log(three, "tell them with `quorate member set-address`")
    machines.wait_until_following(three)
    answer = machines.member("set-address", 3, three.client, three.peer)
    assert answer == (
        f"node 3 is at {three.client} for clients and at {three.peer} for the other nodes"
    )
    # Who starts now calls it there; it is needed for a majority.
    one.kill()
    two.stop()
    two.start()
    machines.wait_until_following(two)
    serves(two, "k")
    assert three.log.count("tell them with") == 1


def test_a_removal_that_would_lose_the_majority_is_refused(machines: Machines) -> None:
    one, two, three = machines.found(3)
    leader = machines.leader([one, two, three])
    dead, other = (machine for machine in (one, two, three) if machine is not leader)
    dead.kill()

    def is_silent() -> bool:
        status = leader.status()
        assert status is not None
        return any(m.id == dead.node and (m.silent_ms or 0) > 500 for m in status.members)

    machines.eventually(is_silent, "the leader misses the dead node")
    refusal = machines.member_fails("remove", other.node)
    assert f"{dead.node} cannot be reached: nothing could be written any more" in refusal
    assert "--force" in refusal
    assert machines.members([leader, other]) == dict.fromkeys((1, 2, 3), True)
    # The dead one may go.
    assert machines.member("remove", dead.node).startswith(f"node {dead.node} is no member")
    serves(other, "k")


def test_a_node_of_another_cluster_is_no_newcomer(machines: Machines) -> None:
    (one,) = machines.found(1)
    foreign = machines.new(7)
    foreign.start(
        "--initialize=d",
        f"--member=7={foreign.peer},{foreign.client}",
        f"--member=1={one.peer},{one.client}",
    )
    for machine in (one, foreign):
        await_log(machine, "node 7 belongs to cluster 'd' and node 1 to cluster 'c'")
    refusal = machines.member_fails("add", foreign.client, status=1, servers=[one])
    assert refusal == (
        f"node 7 at {foreign.client} belongs to cluster d, not to c: give it an empty data "
        "directory and start it with `--join`"
    )
    nobody = machines.new(8)
    refusal = machines.member_fails("add", nobody.client, status=1, servers=[one])
    assert refusal.startswith(f"{nobody.client} cannot be reached: start the node there")


def test_a_cluster_whose_nodes_have_all_moved_is_found_where_the_operator_says(
    machines: Machines,
) -> None:
    founders = machines.found(3)
    serves(founders[0], "k")
    for machine in founders:
        machine.stop()
        machine.move()
    found_at = [f"--member={m.node}={m.peer},{m.client}" for m in founders]
    for machine in founders:
        machine.start(*found_at)
    serves(founders[0], "k")
    for machine in founders:
        machines.member("set-address", machine.node, machine.client, machine.peer)
    (status, *_) = machines.statuses(founders)
    assert {known.client_address for known in status.members} == {m.client for m in founders}
