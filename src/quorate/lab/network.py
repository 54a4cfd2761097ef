"""The course's simulated network (its package `labrpc`): remote procedure calls that may fail.

Clients call through *ends*, each connected to the name of one server for good and enabled or not at
any time. The life of one call:

1. It is counted. Whether its end is enabled, which server object it goes to, and whether the
   network is reliable and reorders is looked up once, and holds for all that follows.
2. Nobody to go to: after `U{0..6999}` ms with long delays, `U{0..99}` ms without, it has failed.
3. An unreliable network takes `U{0..26}` ms, and loses one request in ten; that call fails at once.
4. The server handles it, whatever has become of end and server meanwhile.
5. Every 100 ms until the handler has ended, and once more then: if the end is disabled, or the name
   stands for another server object by now, the call has failed, and a result is thrown away. So a
   killed server cannot acknowledge what it stored nowhere.
6. An unreliable network loses one reply in ten; that call fails at once. A reordering one holds two
   replies in three back for 200 to 2,199 ms, and then delivers them come what may.

A call that has failed says nothing about whether the handler has run. Nothing is ever doubled.
All that crosses is bytes, so that no object is shared. In virtual time each way and each request
takes time as well (`costs`).
"""

import random
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from quorate.lab.costs import Costs
from quorate.sim.tasks import Future, Tasks
from quorate.sim.trace import Trace

MILLISECOND_US = 1_000
LOSS = 0.1
"""The probability that an unreliable network loses a request, and that it loses a reply."""
HELD_BACK = 600 / 900
"""The probability that a reordering network holds a reply back."""
CHECK_US = 100 * MILLISECOND_US
"""How often a call that waits for its handler looks whether the server is still there."""


class Service(Protocol):
    """What a server offers under one name: remote methods."""

    def handle(self, method: str, arguments: bytes) -> Coroutine[Any, Any, bytes]:
        """Executes a method; may take as long as it likes.

        Args:
            method: the name behind the service's, as in `Raft.RequestVote`.
            arguments: encoded, as the caller gave them.
        """
        ...


class LabServer:
    """One life of a server: its services by their names.

    Attributes:
        count: how many requests were handed to it.
        busy_until: when it has handled what came so far, in microseconds.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self.count = 0
        self.busy_until = 0
        self._services = services

    def handle(self, method: str, arguments: bytes) -> Coroutine[Any, Any, bytes]:
        """Executes `Service.Method`."""
        service, _, name = method.rpartition(".")
        return self._services[service].handle(name, arguments)


class ClientEnd:
    """One way to one server."""

    def __init__(self, network: "LabNetwork") -> None:
        self.is_enabled = False
        self.server_name: object = None
        self._network = network

    async def call(self, method: str, arguments: bytes) -> bytes | None:
        """Calls `Service.Method` of the server.

        Returns:
            The reply. None says nothing: the server may or may not have done it.
        """
        return await self.start_call(method, arguments)

    def start_call(self, method: str, arguments: bytes) -> Future[bytes | None]:
        """Begins such a call; its result comes by itself."""
        return self._network.accept(self, method, arguments)


class LabNetwork:
    """All ends and all servers of one test.

    Args:
        tasks: in which handlers run.
        rng: for all that is left to chance.
        costs: of calls in virtual time.

    Attributes:
        reliable: whether nothing is lost, and nothing delayed.
        long_delays: whether calls that cannot be delivered take up to 7 s to fail.
        long_reordering: whether replies are held back.
        total_count: calls so far, whether they could be delivered or not.
        total_bytes: of the arguments of all calls and of all replies that were delivered.
        trace: of every call and reply: two runs of one seed have the same.
    """

    def __init__(self, tasks: Tasks, rng: random.Random, costs: Costs) -> None:
        self.reliable = True
        self.long_delays = False
        self.long_reordering = False
        self.total_count = 0
        self.total_bytes = 0
        self.trace = Trace(tasks.scheduler)
        self.tasks = tasks
        self.scheduler = tasks.scheduler
        self.rng = rng
        self.costs = costs
        self._ends: dict[object, ClientEnd] = {}
        self._servers: dict[object, LabServer] = {}
        self._is_closed = False
        # Calls whose handlers have not ended, by the time of their next check.
        self._pending: deque[tuple[int, _Call]] = deque()
        self._check_is_due = False

    # ------------------------------------------------------------------ what there is

    def make_end(self, name: object) -> ClientEnd:
        """A new end, disabled, and connected to nothing."""
        assert name not in self._ends, f"there is an end {name} already"
        end = self._ends[name] = ClientEnd(self)
        return end

    def connect(self, end_name: object, server_name: object) -> None:
        """Connects an end to whatever server has that name when it is called."""
        end = self._ends[end_name]
        assert end.server_name is None, f"end {end_name} is connected already"
        end.server_name = server_name

    def enable(self, end_name: object, enabled: bool) -> None:  # noqa: FBT001 - the course's form
        """Lets an end's calls get through, or not."""
        self._ends[end_name].is_enabled = enabled

    def add_server(self, name: object, server: LabServer) -> None:
        """Gives a name to a new server; one that had it is gone."""
        self._servers[name] = server

    def delete_server(self, name: object) -> None:
        """Takes the server away that has this name, if there is one."""
        self._servers.pop(name, None)

    def close(self) -> None:
        """Calls fail at once from now on; those under way go on."""
        self._is_closed = True

    def count(self, server_name: object) -> int:
        """How many requests were handed to the server that has this name now."""
        return self._servers[server_name].count

    # ------------------------------------------------------------------ calls

    def accept(self, end: ClientEnd, method: str, arguments: bytes) -> Future[bytes | None]:
        """Begins a call through an end; see `ClientEnd.start_call`."""
        result: Future[bytes | None] = Future()
        if self._is_closed:
            result.set(None)
            return result
        self.total_count += 1
        self.total_bytes += len(arguments)
        self.trace.note(arguments)
        server = self._servers.get(end.server_name) if end.is_enabled else None
        if server is None:
            limit = 7000 if self.long_delays else 100
            delay = self.rng.randrange(limit) * MILLISECOND_US
            self.scheduler.after(delay, lambda: result.set(None))
            return result
        _Call(self, end, server, method, arguments, result).depart()
        return result

    def hop_us(self) -> int:
        """How long one way takes, this time."""
        average = self.costs.hop_us
        return average // 2 + int(self.rng.random() * average)

    def is_gone(self, end: ClientEnd, server: LabServer) -> bool:
        """Whether what this server has to say must not arrive through this end any more."""
        return not end.is_enabled or self._servers.get(end.server_name) is not server

    def watch(self, call: "_Call") -> None:
        """Checks a call again and again until its handler has ended."""
        self._pending.append((self.scheduler.now + CHECK_US, call))
        self._set_check()

    def _set_check(self) -> None:
        if self._pending and not self._check_is_due:
            self._check_is_due = True
            self.scheduler.at(self._pending[0][0], self._check)

    def _check(self) -> None:
        self._check_is_due = False
        pending, now = self._pending, self.scheduler.now
        while pending and pending[0][0] <= now:
            due, call = pending.popleft()
            if call.goes_on():
                pending.append((due + CHECK_US, call))
        while pending and pending[0][1].is_over:
            pending.popleft()
        self._set_check()


class _Call:
    """One call that can be delivered, from its departure to its result."""

    __slots__ = (
        "_arguments",
        "_end",
        "_method",
        "_network",
        "_reliable",
        "_reordering",
        "_reply",
        "_result",
        "_server",
        "is_over",
    )

    def __init__(
        self,
        network: LabNetwork,
        end: ClientEnd,
        server: LabServer,
        method: str,
        arguments: bytes,
        result: Future[bytes | None],
    ) -> None:
        self._network = network
        self._end = end
        self._server = server
        self._method = method
        self._arguments = arguments
        self._result = result
        self._reliable = network.reliable
        self._reordering = network.long_reordering
        self._reply = b""
        self.is_over = False
        """Whether its result is certain, or needs no more checks."""

    def depart(self) -> None:
        """The request is on its way."""
        network = self._network
        delay = network.hop_us()
        if not self._reliable:
            delay += network.rng.randrange(27) * MILLISECOND_US
            if network.rng.random() < LOSS:
                network.scheduler.after(delay, self._fail)
                return
        network.scheduler.after(delay, self._arrive)

    def _arrive(self) -> None:
        """The server has it; it handles one after another."""
        network, server = self._network, self._server
        cost = network.costs.request_us
        if not cost:
            self._begin()
            return
        server.busy_until = max(server.busy_until, network.scheduler.now) + cost
        network.scheduler.at(server.busy_until, self._begin)

    def _begin(self) -> None:
        self._server.count += 1
        self._network.tasks.spawn(self._handle())
        self._network.watch(self)

    async def _handle(self) -> None:
        reply = await self._server.handle(self._method, self._arguments)
        if not self.is_over:
            self._handled(reply)

    def goes_on(self) -> bool:
        """Whether its handler may still have something to say."""
        if self.is_over:
            return False
        if self._network.is_gone(self._end, self._server):
            self._fail()
            return False
        return True

    def _handled(self, reply: bytes) -> None:
        network = self._network
        self.is_over = True
        if network.is_gone(self._end, self._server):
            self._fail()
            return
        if not self._reliable and network.rng.random() < LOSS:
            self._fail()
            return
        delay = network.hop_us()
        if self._reordering and network.rng.random() < HELD_BACK:
            longest = 1 + network.rng.randrange(2000)
            delay += (200 + network.rng.randrange(longest)) * MILLISECOND_US
        self._reply = reply
        network.scheduler.after(delay, self._deliver)

    def _deliver(self) -> None:
        self._network.total_bytes += len(self._reply)
        self._network.trace.note(self._reply)
        self._result.set(self._reply)

    def _fail(self) -> None:
        self.is_over = True
        self._result.set(None)
