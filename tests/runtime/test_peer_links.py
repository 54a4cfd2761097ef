"""Links between servers: made, refused, broken and made again, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.codec.peer import encode_message
from quorate.raft.configuration import Configuration, Member, Membership, NodeId
from quorate.raft.messages import Forward, PeerMessage, RequestVote
from quorate.runtime import peer_links
from quorate.runtime.peer_links import (
    FIRST_BACKOFF_S,
    HANDSHAKE_TIMEOUT_S,
    LONGEST_BACKOFF_S,
    MAX_GUESTS,
    MAX_STRANGERS,
    MAX_UNSENT_BYTES,
    PeerLinks,
)
from quorate.storage.memory_disk import MemoryDisk
from quorate.storage.store import Store
from quorate.wire.peer_hello import Hello
from quorate.wire.peer_link import PeerConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.runtime.conftest import SteppedLoop

    Run = Callable[[Callable[[], Awaitable[None]]], None]
    RunInSteps = Callable[[Callable[[SteppedLoop], Awaitable[None]]], None]

MIB = 1024 * 1024
ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)


def committed(configuration: Configuration, index: int) -> Membership:
    return Membership(configuration, index, configuration, index)


class Peer:
    """One server's links, and what they have told it."""

    def __init__(
        self,
        node: NodeId,
        members: tuple[Member, ...],
        *,
        data_id: str = "",
        given_addresses: dict[NodeId, str] | None = None,
        way_to: Callable[[str], str] = str,
    ) -> None:
        self.node = node
        self.messages: asyncio.Queue[tuple[NodeId, PeerMessage]] = asyncio.Queue()
        self.changes: asyncio.Queue[tuple[NodeId, bool]] = asyncio.Queue()
        self.troubles: dict[NodeId, str] = {}
        self.has_failed = asyncio.Event()
        self.is_refused = asyncio.Event()
        self.identified: list[tuple[NodeId, str]] = []
        self.told_of_removal = asyncio.Event()
        self.members = members
        self.given_addresses = given_addresses
        self.way_to = way_to
        self.address = next((m.peer_address for m in members if m.id == node), "")
        self.hello = Hello(
            cluster_id="c",
            sender=node,
            to=None,
            data_id=data_id or f"data of {node}",
            boot=1,
            client_address="",
            peer_address=self.address,
        )
        disk = MemoryDisk()
        Store.initialize(
            disk, cluster_id="c", node=node, data_id=self.hello.data_id, members=members
        )
        self.store = Store.open(disk)

    async def start(self) -> None:
        """Listens, and calls the others."""
        membership = committed(Configuration(self.members), 0)
        self.links = PeerLinks(
            self.hello,
            membership,
            known=self.store,
            rng=random.Random(self.node),
            given_addresses=self.given_addresses,
            way_to=self.way_to,
        )
        self.hello = msgspec.structs.replace(self.hello, peer_address=self.address)
        host, _, port = self.address.rpartition(":")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self.links.incoming_protocol, host, int(port), reuse_port=True
        )
        self.links.start(self)

    async def stop(self) -> None:
        self._server.close()
        await self.links.close()
        await self._server.wait_closed()

    def received(self, sender: NodeId, messages: list[PeerMessage]) -> None:
        for message in messages:
            self.messages.put_nowait((sender, message))

    def link_changed(self, peer: NodeId, *, up: bool) -> None:
        self.changes.put_nowait((peer, up))

    def link_made(self, peer: NodeId) -> None:
        self.troubles.pop(peer, None)

    def link_failed(self, peer: NodeId, trouble: str, *, is_refused: bool) -> None:
        self.troubles[peer] = trouble
        (self.is_refused if is_refused else self.has_failed).set()

    def peer_identified(self, peer: NodeId, data_id: str) -> None:
        self.identified.append((peer, data_id))

    def removed(self) -> None:
        self.told_of_removal.set()

    async def await_change(self, peer: NodeId, *, up: bool) -> None:
        while await self.changes.get() != (peer, up):
            pass


@contextlib.asynccontextmanager
async def running(*peers: Peer) -> AsyncIterator[None]:
    for peer in peers:
        await peer.start()
    try:
        yield
    finally:
        for peer in peers:
            await peer.stop()


@pytest.fixture
def members() -> Iterator[tuple[Member, ...]]:
    """Three servers with ports that nobody else gets, whether or not they run.

    Ports that were only found to be free were in use a moment later when many suites ran side by
    side: a test failed, twice in 1,200 runs, because its server could not listen. So a socket
    that does not listen holds each port; only who says SO_REUSEPORT too can listen there.
    """
    with contextlib.ExitStack() as holders:
        members = []
        for node in (ONE, TWO, THREE):
            holder = holders.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(("127.0.0.1", 0))
            members.append(Member(node, f"127.0.0.1:{holder.getsockname()[1]}"))
        yield tuple(members)


def vote(number: int) -> RequestVote:
    return RequestVote(number, 1, 0, 0)


def test_messages_go_both_ways_in_order(members: tuple[Member, ...], run_on_loop: Run) -> None:
    async def test() -> None:
        one, two = Peer(ONE, members), Peer(TWO, members)
        async with running(one, two):
            await one.await_change(TWO, up=True)
            await two.await_change(ONE, up=True)
            for number in range(1, 1001, 2):
                one.links.send(TWO, [vote(number), vote(number + 1)])
            two.links.send(ONE, [vote(7)])
            received = [await two.messages.get() for _ in range(1000)]
            assert received == [(ONE, vote(number)) for number in range(1, 1001)]
            assert await one.messages.get() == (TWO, vote(7))

    run_on_loop(test)


def test_another_server_is_called_where_the_way_to_it_begins(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    # Node 2 listens at its address; but from node 1 the way to it leads elsewhere.
    nobody = members[2].peer_address

    async def test() -> None:
        one, two = Peer(ONE, members[:2], way_to=lambda _: nobody), Peer(TWO, members[:2])
        async with running(two, one):
            await two.await_change(ONE, up=True)
            await one.has_failed.wait()
            assert one.troubles[TWO].startswith(f"{two.address}: ")

    run_on_loop(test)


def test_a_message_for_who_cannot_be_reached_is_dropped(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    async def test() -> None:
        one, two = Peer(ONE, members), Peer(TWO, members)
        async with running(one):
            one.links.send(TWO, [vote(1)])
            one.links.send(THREE, [vote(1)])
            async with running(two):
                await one.await_change(TWO, up=True)
                one.links.send(TWO, [vote(2)])
                assert await two.messages.get() == (ONE, vote(2))

    run_on_loop(test)


def test_a_link_that_is_lost_is_told_of_and_made_again(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    async def test() -> None:
        one, two = Peer(ONE, members), Peer(TWO, members)
        async with running(one):
            for number in range(1, 4):
                async with running(two):
                    await one.await_change(TWO, up=True)
                    one.links.send(TWO, [vote(number)])
                    assert await two.messages.get() == (ONE, vote(number))
                await one.await_change(TWO, up=False)

    run_on_loop(test)


def test_who_comes_back_and_calls_is_called_at_once(
    members: tuple[Member, ...], run_on_loop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two servers had been restarted one after the other, and the one that led now could not reach
    # the other yet, which it needed for a majority: it waited before it called it again.
    monkeypatch.setattr(peer_links, "FIRST_BACKOFF_S", 600.0)
    monkeypatch.setattr(peer_links, "LONGEST_BACKOFF_S", 600.0)

    async def test() -> None:
        one, two = Peer(ONE, members), Peer(TWO, members)
        async with running(one):
            await one.has_failed.wait()
            async with running(two):
                await one.await_change(TWO, up=True)

    run_on_loop(test)


def test_a_second_connection_of_a_server_replaces_its_first(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    # The server may have restarted, and the loss of the first one not have been noticed.
    async def test() -> None:
        one, two = Peer(ONE, members), Peer(TWO, members)
        async with running(one):
            first_reader, _ = await call(one, two.hello)
            second_reader, second_writer = await call(one, two.hello)
            assert await first_reader.read() != b"", "the greeting, and then the end"
            second = PeerConnection(msgspec.structs.replace(two.hello, to=ONE))
            second.greet()
            second.receive(await second_reader.read(4096))
            second.accept()
            second_writer.write(second.encode(vote(1)))
            assert await one.messages.get() == (TWO, vote(1))
            second_writer.close()

    run_on_loop(test)


async def call(peer: Peer, hello: Hello) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Calls a server by hand."""
    host, _, port = peer.members[peer.node - 1].peer_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PeerConnection(msgspec.structs.replace(hello, to=peer.node)).greet())
    return reader, writer


def test_who_is_refused_calls_again_and_is_complained_of_once(
    members: tuple[Member, ...], run_on_loop: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        one, two = Peer(ONE, members), Peer(TWO, members)
        one.store.remember_peer(TWO, "the data that it lost")
        async with running(one, two):
            for _ in range(3):
                # Each call of `one` goes well at first, as far as `two` can tell.
                await two.await_change(ONE, up=False)
            assert one.changes.empty()

    with caplog.at_level(logging.WARNING, "quorate"):
        run_on_loop(test)
    told = [record.getMessage() for record in caplog.records]
    assert sum("refused: node 2 has lost its data" in line for line in told) == 1
    assert sum(": node 1 refuses this server" in line for line in told) == 1
    # When `two` calls, it is refused before it has heard who is there.
    assert sum("the server at the address of node 1 refuses" in line for line in told) == 1


def test_who_is_no_member_is_answered_and_called_back_as_long_as_it_calls(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    # A server that has been added may know so before this one does, and this one may be needed.
    async def test() -> None:
        one, stranger = Peer(ONE, members[:1]), Peer(THREE, members)
        async with running(one):
            async with running(stranger):
                await one.await_change(THREE, up=True)
                assert one.identified == [], "it is no member"
                one.links.send(THREE, [vote(1)])
                assert await stranger.messages.get() == (ONE, vote(1))
            await one.await_change(THREE, up=False)
            await until(lambda: "peer-3" not in {task.get_name() for task in asyncio.all_tasks()})

    run_on_loop(test)


async def hears(links: PeerLinks, peer: Peer) -> None:
    """Sends to a server until it hears something."""
    async with asyncio.timeout(5):
        while peer.messages.empty():
            links.send(peer.node, [vote(1)])
            await asyncio.sleep(0.05)


def test_who_takes_over_a_number_is_called_though_the_former_one_still_runs(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    """It knows no members, so it calls nobody itself; and the former one may hang for long."""

    async def test() -> None:
        first = Configuration((members[0], msgspec.structs.replace(members[1], data_id="former")))
        one, former = Peer(ONE, first.voters), Peer(TWO, first.voters, data_id="former")
        new = Peer(TWO, (), data_id="new")
        new.address = members[2].peer_address
        async with running(one, former, new):
            one.links.members_changed(committed(first, 1))
            await one.await_change(TWO, up=True)
            await former.await_change(ONE, up=True)
            gone = first.without(TWO)
            one.links.members_changed(committed(gone, 2))
            again = gone.with_learner(Member(TWO, new.address, "", "new"), promote=True)
            one.links.members_changed(Membership(again, 3, gone, 2))
            await hears(one.links, new)

    run_on_loop(test)


@pytest.fixture
def two_lives(members: tuple[Member, ...]) -> tuple[Peer, Peer, Peer]:
    """A server, and two lives of another one; the later one is elsewhere."""
    both = members[:2]
    one, former, later = Peer(ONE, both), Peer(TWO, both), Peer(TWO, both)
    former.hello = msgspec.structs.replace(former.hello, life="the first")
    later.address = members[2].peer_address
    later.hello = msgspec.structs.replace(
        former.hello, life="the second", boot=2, peer_address=later.address
    )
    return one, former, later


@contextlib.asynccontextmanager
async def linked(one: Peer, other: Peer) -> AsyncIterator[None]:
    """The other one runs, and there are links in both directions."""
    async with running(other):
        await one.await_change(other.node, up=True)
        await other.await_change(one.node, up=True)
        yield


def test_a_second_process_of_a_server_is_refused_until_the_first_one_has_ended(
    two_lives: tuple[Peer, Peer, Peer], run_on_loop: Run
) -> None:
    """It may run on a copy of the directory of a node in use, which looks like a restart."""

    async def test() -> None:
        one, former, later = two_lives
        async with running(one):
            async with linked(one, former):
                await later.start()
                await later.is_refused.wait()
                assert "another process says that it is node 2" in later.troubles[ONE]
                await hears(one.links, former)
            await hears(one.links, later)
            await later.stop()

    run_on_loop(test)


def test_a_second_process_that_was_there_too_long_is_never_taken_for_the_first_ones_next_life(
    two_lives: tuple[Peer, Peer, Peer], run_on_loop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it took the place of the node itself when that is next restarted."""
    monkeypatch.setattr(peer_links, "COPY_S", 0.2)
    monkeypatch.setattr(peer_links, "LONGEST_BACKOFF_S", 0.1)

    async def test() -> None:
        one, former, copy = two_lives
        async with running(one):
            async with linked(one, former):
                await copy.start()
                await copy.is_refused.wait()
                await asyncio.sleep(0.3)
                copy.is_refused.clear()
                await copy.is_refused.wait()
            await one.await_change(TWO, up=False)
            copy.is_refused.clear()
            await copy.is_refused.wait()
            former.hello = msgspec.structs.replace(former.hello, life="the third", boot=2)
            async with running(former):
                await hears(one.links, former)
            await copy.stop()

    run_on_loop(test)


def test_a_member_is_called_also_where_the_operator_says_that_it_may_be(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    """All have moved while none of them ran, so there is nobody who could tell the others."""

    async def test() -> None:
        (_, moved, elsewhere) = members
        one = Peer(ONE, members[:2], given_addresses={TWO: elsewhere.peer_address})
        two = Peer(TWO, (), data_id="data of 2")
        two.address = elsewhere.peer_address
        assert two.address != moved.peer_address
        async with running(one, two):
            await hears(one.links, two)

    run_on_loop(test)


@pytest.fixture
def silent_place() -> Iterator[socket.socket]:
    """Where whoever calls gets no answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def at(listening: socket.socket) -> str:
    return f"127.0.0.1:{listening.getsockname()[1]}"


def test_who_is_started_again_is_called_at_once_whatever_else_the_operator_has_said(
    members: tuple[Member, ...], silent_place: socket.socket, run_on_loop: Run
) -> None:
    """The call to the other place would have ended after five seconds."""

    async def test() -> None:
        one = Peer(ONE, members[:2], given_addresses={TWO: at(silent_place)})
        two, again = Peer(TWO, members[:2]), Peer(TWO, members[:2])
        again.hello = msgspec.structs.replace(two.hello, boot=2, life="the second")
        await two.start()  # before it is called: else the other place comes next at once
        async with running(one):
            await one.await_change(TWO, up=True)
            await two.await_change(ONE, up=True)
            await two.stop()
            called, _ = await asyncio.get_running_loop().sock_accept(silent_place)
            with called:
                async with running(again), asyncio.timeout(HANDSHAKE_TIMEOUT_S / 2):
                    await hears(one.links, again)

    run_on_loop(test)


def test_what_a_call_to_another_place_comes_to_is_not_told_of_the_server(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    """There is somebody else, who refuses; but the server that is sought is just down."""

    async def test() -> None:
        one = Peer(ONE, members[:2], given_addresses={TWO: members[2].peer_address})
        three = Peer(THREE, members[2:])
        async with running(one, three):
            for _ in range(3):
                one.has_failed.clear()
                await one.has_failed.wait()
            assert one.troubles[TWO].startswith(members[1].peer_address)
            assert not one.is_refused.is_set()

    run_on_loop(test)


def test_who_is_connected_is_called_where_it_says_that_it_is_if_the_list_is_wrong(
    members: tuple[Member, ...], silent_place: socket.socket, run_on_loop: Run
) -> None:
    async def test() -> None:
        nowhere = Member(TWO, "127.0.0.1:1")
        one, two = Peer(ONE, (members[0], nowhere)), Peer(TWO, members[:2])
        async with running(one, two):
            await one.await_change(TWO, up=True)
            mistyped = Member(TWO, at(silent_place), "", "data of 2")
            one.links.members_changed(committed(Configuration((members[0], mistyped)), 1))
            # Nothing else ends one direction alone.
            one.links._outgoing[TWO].break_off("as by the network")  # noqa: SLF001
            await one.await_change(TWO, up=False)
            async with asyncio.timeout(2 * HANDSHAKE_TIMEOUT_S):
                await one.await_change(TWO, up=True)

    run_on_loop(test)


def test_two_of_one_number_do_not_break_off_each_others_connections_for_ever(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    """One was removed, and the other has its number; this server does not know that yet."""

    async def test() -> None:
        one = Peer(ONE, members[:1])
        former = Peer(TWO, members[:2], data_id="former")
        new = Peer(TWO, members[:2], data_id="new")
        new.address = members[2].peer_address
        new.hello = msgspec.structs.replace(new.hello, peer_address=new.address)
        old_list = (members[0], msgspec.structs.replace(members[1], data_id="former"))
        new_list = (members[0], Member(TWO, new.address, "", "new"))
        async with running(one, former, new):
            one.links.members_changed(committed(Configuration(old_list), 5))
            new.links.members_changed(committed(Configuration(new_list), 10))
            await until(lambda: "was replaced" in former.troubles.get(ONE, ""))
            await hears(one.links, new)
            while not one.changes.empty():
                one.changes.get_nowait()
            await asyncio.sleep(1)
            assert one.changes.empty()

    run_on_loop(test)


def test_a_link_to_who_is_no_member_any_more_is_told_to_be_none(
    members: tuple[Member, ...], silent_place: socket.socket, run_on_loop: Run
) -> None:
    async def test() -> None:
        one, two = Peer(ONE, members[:1]), Peer(TWO, ())
        two.address = members[1].peer_address
        first = Configuration(members[:1]).with_learner(
            Member(TWO, two.address, "", "data of 2"), promote=False
        )
        async with running(one, two):
            one.links.members_changed(committed(first, 1))
            await one.await_change(TWO, up=True)
            gone = first.without(TWO)
            one.links.members_changed(committed(gone, 2))
            async with asyncio.timeout(5):
                await one.has_failed.wait()
            again = gone.with_learner(Member(TWO, at(silent_place), "", "other"), promote=False)
            one.links.members_changed(committed(again, 3))
            assert TWO in one.troubles

    run_on_loop(test)


def test_who_has_joined_is_not_remembered_by_its_number_alone(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    """It may come under the number of a founder whose removal is under way, and is taken back.

    Then it would be that one, with an empty log in place of the other's.
    """

    async def test() -> None:
        one, newcomer = Peer(ONE, members[:1]), Peer(TWO, members)
        newcomer.hello = msgspec.structs.replace(newcomer.hello, has_joined=True)
        async with running(one, newcomer):
            await one.await_change(TWO, up=True)
            assert one.identified == []
            assert one.store.known_data_id(TWO) is None

    run_on_loop(test)


def test_a_link_over_which_is_sent_is_in_order_though_the_peers_own_call_has_ended(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    async def test() -> None:
        one, two = Peer(ONE, members[:2]), Peer(TWO, members[:2])
        async with running(one, two):
            await one.await_change(TWO, up=True)
            await two.await_change(ONE, up=True)
            host, port = one.address.split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            again = PeerConnection(msgspec.structs.replace(two.hello, to=ONE))
            writer.write(again.greet())
            while again.hello is None:
                again.receive(await reader.read(4096))
            writer.close()
            await one.await_change(TWO, up=False)  # a hint, which may be wrong
            assert one.troubles == {}

    run_on_loop(test)


def test_a_new_member_is_called_and_a_removed_one_is_told_so(
    members: tuple[Member, ...], run_on_loop: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        one, two = Peer(ONE, members[:1]), Peer(TWO, ())
        two.address = members[1].peer_address
        async with running(one, two):
            both = Configuration((members[0],)).with_learner(members[1], promote=True)
            one.links.members_changed(Membership(both, 1, both.without(TWO), 0))
            await one.await_change(TWO, up=True)
            await two.await_change(ONE, up=True)
            known = both.with_member(msgspec.structs.replace(members[1], data_id="data of 2"))
            one.links.members_changed(committed(known, 2))
            gone = known.without(TWO)
            one.links.members_changed(Membership(gone, 3, known, 2))
            one.links.send(TWO, [vote(1)])
            assert await two.messages.get() == (ONE, vote(1)), "it may be needed to commit that"
            one.links.members_changed(committed(gone, 3))
            await two.told_of_removal.wait()
            one.links.send(TWO, [vote(2)])
            assert await two.messages.get() == (ONE, vote(2)), "it may answer what came before"
            assert two.changes.empty()
            await two.await_change(ONE, up=False)

    with caplog.at_level(logging.WARNING, "quorate"):
        run_on_loop(test)
    assert any("node 2 was removed from the cluster" in line for line in caplog.messages)


def test_a_member_of_the_cluster_that_this_one_was_made_from_was_not_removed(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    # `quorate recover` on one node, though the others still serve: they must go on.
    async def test() -> None:
        one, two = Peer(ONE, members[:1]), Peer(TWO, members[:2])
        one.hello = msgspec.structs.replace(one.hello, cluster_id="made from c")
        made = Configuration(members[:1], removed=("data of 1", "data of 2"))
        async with running(one):
            one.links.members_changed(committed(made, 1))
            async with running(two):
                await two.is_refused.wait()
                assert "check the members' peer addresses and data directories" in two.troubles[ONE]
                assert not two.told_of_removal.is_set()

    run_on_loop(test)


def test_who_refuses_and_who_is_refused_both_know_it_from_a_call_that_failed(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    async def test() -> None:
        known = msgspec.structs.replace(members[1], data_id="data of 2")
        one, two = Peer(ONE, (members[0], known)), Peer(TWO, members[:2], data_id="new data")
        async with running(one):
            await one.has_failed.wait()
            assert not one.is_refused.is_set(), "nobody was there"
            async with running(two):
                await one.is_refused.wait()
                await two.is_refused.wait()
                assert "refused: node 2 has lost its data" in one.troubles[TWO]
                assert "refuses this server: node 2 has lost its data" in two.troubles[ONE]

    run_on_loop(test)


def test_a_member_is_called_where_it_says_it_is(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    # Its address has changed, and so far only it knows.
    async def test() -> None:
        moved = msgspec.structs.replace(members[1], peer_address=members[2].peer_address)
        one, two = Peer(ONE, members[:2]), Peer(TWO, (members[0], moved))
        async with running(one, two):
            await one.await_change(TWO, up=True)

    run_on_loop(test)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_who_listens_on_all_addresses_is_called_where_the_members_list_says(
    members: tuple[Member, ...], run_on_loop: Run, host: str
) -> None:
    async def test() -> None:
        one, two = Peer(ONE, members), Peer(TWO, members)
        two.hello = msgspec.structs.replace(two.hello, peer_address=f"{host}:1")
        async with running(one):
            async with running(two):
                await one.await_change(TWO, up=True)
                await two.await_change(ONE, up=True)
            two.hello = msgspec.structs.replace(two.hello, boot=2, peer_address=f"{host}:1")
            async with running(two):
                await one.await_change(TWO, up=True)

    run_on_loop(test)


@pytest.mark.parametrize("host", ["no..host", 64 * "x", "no\0host"])
def test_where_no_host_can_be_is_called_again_until_it_is_known_better(
    members: tuple[Member, ...], run_on_loop: Run, host: str
) -> None:
    # Such a name is not even looked up; the operator may have mistyped it, or a caller made it up.
    async def test() -> None:
        nowhere = msgspec.structs.replace(members[1], peer_address=f"{host}:1")
        one, two = Peer(ONE, (members[0], nowhere)), Peer(TWO, members[1:2])
        async with running(one, two):
            await one.has_failed.wait()
            assert one.troubles[TWO].startswith(f"{host}:1: ")
            known = committed(Configuration(members[:2]), 1)
            one.links.members_changed(known)
            await one.await_change(TWO, up=True)

    run_on_loop(test)


def test_what_a_server_does_not_take_in_is_dropped_beyond_a_limit(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    async def test() -> None:
        one = Peer(ONE, members)
        message = Forward(1, 1, bytes(8 * MIB))
        most = MAX_UNSENT_BYTES // len(encode_message(message)) + 2  # one more is under way
        host, _, port = members[1].peer_address.rpartition(":")
        with socket.create_server((host, int(port)), reuse_port=True) as listening:
            listening.setblocking(False)
            loop = asyncio.get_running_loop()
            async with running(one):
                accepted, _ = await loop.sock_accept(listening)
                with accepted:
                    mine = PeerConnection(Peer(TWO, members).hello)
                    mine.receive(await loop.sock_recv(accepted, 4096))
                    await loop.sock_sendall(accepted, mine.greet())
                    mine.accept()
                    await one.await_change(TWO, up=True)
                    for _ in range(most + 5):
                        one.links.send(TWO, [message])
                    received: list[PeerMessage] = []
                    while len(received) < 3:  # by then so much has left that there is room again
                        received += mine.receive(await loop.sock_recv(accepted, MIB))
                    one.links.send(TWO, [vote(2)])
                    while received[-1] != vote(2):
                        received += mine.receive(await loop.sock_recv(accepted, MIB))
                    assert most - 3 <= len(received) - 1 <= most

    run_on_loop(test)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
def test_a_link_whose_other_end_is_silent_does_not_wait_for_tcp(
    members: tuple[Member, ...], run_on_loop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for a quarter of an hour; `test_network.py` has a network that fails."""
    monkeypatch.setattr(peer_links, "UNACKNOWLEDGED_S", 0.5)

    async def test() -> None:
        one = Peer(ONE, members)
        with listening_as(members[1]) as listening:
            loop = asyncio.get_running_loop()
            async with running(one):
                accepted, _ = await loop.sock_accept(listening)
                with accepted:
                    mine = PeerConnection(Peer(TWO, members).hello)
                    mine.receive(await loop.sock_recv(accepted, 4096))
                    await loop.sock_sendall(accepted, mine.greet())
                    await one.await_change(TWO, up=True)
                    one.links.send(TWO, [Forward(1, 1, bytes(8 * MIB))] * 8)
                    async with asyncio.timeout(20):
                        await one.await_change(TWO, up=False)

    run_on_loop(test)


TCP_REPAIR = 19  # `include/uapi/linux/tcp.h`


def vanish(connection: socket.socket) -> None:
    """Ends a connection as a loss of power does: not a word of it is sent."""
    try:
        connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except PermissionError:
        pytest.skip("connections cannot be made to vanish here: CAP_NET_ADMIN is missing")
    connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only there connections can vanish")
def test_a_link_to_a_machine_that_has_failed_ends_though_nothing_is_sent_over_it(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    """Followers send each other nothing; and the node may be about to come back elsewhere."""

    async def test() -> None:
        one = Peer(ONE, members)
        with listening_as(members[1]) as listening:
            async with running(one):
                loop = asyncio.get_running_loop()
                accepted, _ = await loop.sock_accept(listening)
                mine = PeerConnection(Peer(TWO, members).hello)
                mine.receive(await loop.sock_recv(accepted, 4096))
                await loop.sock_sendall(accepted, mine.greet())
                await one.await_change(TWO, up=True)
                vanish(accepted)
                async with asyncio.timeout(5):
                    await one.await_change(TWO, up=False)

    run_on_loop(test)


# --------------------------------------------------------------------- callers that are no good


def address(peer: Peer) -> tuple[str, int]:
    host, _, port = peer.members[peer.node - 1].peer_address.rpartition(":")
    return host, int(port)


def reset(caller: socket.socket) -> None:
    """Ends a connection in such a way that the other kernel forgets at once who it was."""
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()


def test_callers_that_have_gone_are_complained_of_by_the_host_that_they_came_from(
    members: tuple[Member, ...], run_on_loop: Run, caplog: pytest.LogCaptureFixture
) -> None:
    # Of a connection that was reset the kernel does not say any more who the other end was. It
    # was asked when there was something to complain of, so one host could be complained of twice
    # in a period: by its name, and as "(closed)".
    async def test() -> None:
        one, two = Peer(ONE, members), Peer(TWO, members)
        greeting = PeerConnection(msgspec.structs.replace(two.hello, to=ONE)).greet()
        async with running(one):
            loop = asyncio.get_running_loop()
            for _ in range(3):
                caller = socket.create_connection(address(one))
                caller.setblocking(False)
                await loop.sock_sendall(caller, greeting)
                await loop.sock_recv(caller, 4096)  # accepted
                caller.send(b"\xff" * 20)
                reset(caller)
                await one.await_change(TWO, up=False)
            early = socket.create_connection(address(one))
            early.send(b"GET / HTTP/1.1\r\n")
            reset(early)  # before it is accepted: nobody is there to be complained of
            reader, writer = await call(one, two.hello)
            assert await reader.read(1)
            writer.close()

    with caplog.at_level(logging.WARNING, "quorate"):
        run_on_loop(test)
    (line,) = caplog.messages
    assert line.startswith("peer connection 127.0.0.1:")
    assert "broken off: node 2 broke the protocol" in line


def test_of_too_many_strangers_the_one_that_waited_longest_yields(
    members: tuple[Member, ...], run_on_loop: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        one, two = Peer(ONE, members), Peer(TWO, members)
        async with running(one):
            strangers = [await asyncio.open_connection(*address(one)) for _ in range(MAX_STRANGERS)]
            async with running(two):  # a server gets through, however many there are
                await two.await_change(ONE, up=True)
            (oldest, _), *others = strangers
            assert await oldest.read() == b""
            assert not any(reader.at_eof() for reader, _ in others)
            for _, writer in strangers:
                writer.close()

    with caplog.at_level(logging.WARNING, "quorate"):
        run_on_loop(test)
    (line,) = caplog.messages
    assert f"broken off: {MAX_STRANGERS} later callers have not said who they are" in line


def test_of_too_many_that_are_no_members_the_first_is_forgotten(
    members: tuple[Member, ...], run_on_loop: Run, caplog: pytest.LogCaptureFixture
) -> None:
    # Anybody may say that he is some server, and that he is at some address: each was kept, called
    # and remembered on the disk for ever.
    async def test() -> None:
        one, two = Peer(ONE, members), Peer(TWO, members)
        async with running(one, two):
            await one.await_change(TWO, up=True)
            calls = []
            for number in range(MAX_GUESTS + 2):
                guest = msgspec.structs.replace(
                    two.hello, sender=NodeId(100 + number), data_id=f"{number}", peer_address=""
                )
                calls.append(await call(one, guest))
                assert await calls[-1][0].read(1), "it is let in"
            for reader, _ in calls[:2]:
                with contextlib.suppress(ConnectionResetError):
                    await reader.read()
            assert not any(reader.at_eof() for reader, _ in calls[2:])
            for _, writer in calls:
                writer.close()
            assert set(one.store.identity.peer_data_ids) == {TWO}

    with caplog.at_level(logging.WARNING, "quorate"):
        run_on_loop(test)
    assert any("later callers are no members either" in line for line in caplog.messages)


def test_who_is_let_in_before_he_is_a_member_is_remembered_when_he_is(
    members: tuple[Member, ...], run_on_loop: Run
) -> None:
    async def test() -> None:
        one, two = Peer(ONE, members[:1]), Peer(TWO, members)
        async with running(one, two):
            await one.await_change(TWO, up=True)
            assert one.store.known_data_id(TWO) is None
            one.links.members_changed(committed(Configuration(members), 1))
            assert one.store.known_data_id(TWO) == "data of 2"
            assert one.identified == [(TWO, "data of 2")]

    run_on_loop(test)


def test_who_calls_and_says_nothing_is_broken_off_in_time(
    members: tuple[Member, ...], run_in_steps: RunInSteps, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(loop: SteppedLoop) -> None:
        one, two = Peer(ONE, members), Peer(TWO, members)
        async with running(one):
            silent_reader, silent = await asyncio.open_connection(*address(one))
            loop.step(0.9 * HANDSHAKE_TIMEOUT_S)
            reader, writer = await call(one, two.hello)
            assert await reader.read(1), "time passes, and both are there"
            assert not silent_reader.at_eof()
            loop.step(0.2 * HANDSHAKE_TIMEOUT_S)
            assert await silent_reader.read() == b""
            assert not reader.at_eof()
            writer.close()
            silent.close()

    with caplog.at_level(logging.WARNING, "quorate"):
        run_in_steps(test)
    (line,) = caplog.messages
    assert f"no hello came within {HANDSHAKE_TIMEOUT_S:g} s" in line


# --------------------------------------------------------------------- calls that come to nothing


@contextlib.contextmanager
def listening_as(member: Member, *, backlog: int = 10) -> Iterator[socket.socket]:
    host, _, port = member.peer_address.rpartition(":")
    with socket.create_server((host, int(port)), backlog=backlog, reuse_port=True) as listening:
        listening.setblocking(False)
        yield listening


async def read_to_the_end(connection: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(connection, 4096):
        pass


def test_who_is_called_and_says_nothing_is_given_up_in_time(
    members: tuple[Member, ...], run_in_steps: RunInSteps
) -> None:
    async def test(loop: SteppedLoop) -> None:
        with listening_as(members[1]) as listening:
            async with running(Peer(ONE, members)):
                silent, _ = await loop.sock_accept(listening)
                with silent:
                    assert await loop.sock_recv(silent, 4096)
                    loop.step(1.1 * HANDSHAKE_TIMEOUT_S)
                    await read_to_the_end(silent)

    run_in_steps(test)


@pytest.mark.skipif(sys.platform != "linux", reason="knows how Linux treats a full queue")
def test_a_connection_that_is_not_made_is_given_up_in_time(
    members: tuple[Member, ...], run_in_steps: RunInSteps
) -> None:
    # Linux drops the calls to a socket at which too many wait to be accepted; it tries again by
    # itself after a second, so the caller must have gone by then.
    async def test(loop: SteppedLoop) -> None:
        with listening_as(members[1], backlog=0) as listening, contextlib.ExitStack() as callers:
            callers.enter_context(socket.create_connection(listening.getsockname()))
            async with running(Peer(ONE, members)):
                await until(lambda: bool(calling(listening)))
                first = calling(listening)
                loop.step(1.1 * HANDSHAKE_TIMEOUT_S)
                await until(lambda: not first & calling(listening))

    run_in_steps(test)


def calling(listening: socket.socket) -> set[str]:
    """The local addresses from which a connection to this socket is being attempted.

    As the kernel knows them: /proc/net/tcp, where SYN_SENT is 02.
    """
    port = f":{listening.getsockname()[1]:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return {
        local for _, local, remote, state, *_ in lines if remote.endswith(port) and state == "02"
    }


async def until(condition: Callable[[], bool]) -> None:
    """Lets the event loop go on until something holds; the test's time limit is the limit."""
    while not condition():  # noqa: ASYNC110 - the kernel brings it about and tells nobody
        await asyncio.sleep(0)


def test_the_waits_between_calls_double_up_to_the_longest(
    members: tuple[Member, ...], run_in_steps: RunInSteps
) -> None:
    async def test(loop: SteppedLoop) -> None:
        with listening_as(members[1]) as listening:
            async with running(Peer(ONE, members)):
                longest = FIRST_BACKOFF_S
                for _ in range(10):
                    called, _ = await loop.sock_accept(listening)
                    with called:
                        called.shutdown(socket.SHUT_WR)
                        await read_to_the_end(called)  # the caller has closed it, and waits now
                    loop.step(0.49 * longest)
                    for _ in range(10):
                        await asyncio.sleep(0)
                    with pytest.raises(BlockingIOError):
                        listening.accept()
                    loop.step(0.52 * longest)
                    longest = min(2 * longest, LONGEST_BACKOFF_S)
                assert longest == LONGEST_BACKOFF_S

    run_in_steps(test)
