"""Both shells of the Clerk over real sockets: one suite that both pass, then what is their own.

The servers are threads of this process that share one table and speak just enough RESP.
"""

import asyncio
import contextlib
import os
import signal
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import uvloop

from quorate.clerk.errors import (
    CommandError,
    NotExecutedError,
    OutcomeUnknownError,
    UnavailableError,
)
from quorate.clerk.settings import ClerkSettings
from quorate.runtime.async_clerk import AsyncClerk
from quorate.runtime.clerk import Clerk

LOOK_UP = socket.getaddrinfo

# --------------------------------------------------------------------- a small cluster


class Server(socketserver.ThreadingTCPServer):
    """One of the servers. What it does is that of its cluster."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, cluster: "Cluster") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cluster = cluster
        self.connections: list[socket.socket] = []
        self.seen: list[list[bytes]] = []
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    def drop_connections(self) -> None:
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()
        self.drop_connections()


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        self.server.connections.append(self.connection)
        with contextlib.suppress(OSError, ValueError):
            while (count := self.rfile.readline()).startswith(b"*"):
                request = [
                    self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2]
                    for _ in range(int(count[1:]))
                ]
                self.server.seen.append(request)
                reply = self.server.cluster.reply(self.server, request)
                if reply is None:
                    return
                self.wfile.write(reply)


class Cluster:
    """The table that the servers share, and the faults that a test asks for."""

    def __init__(self, size: int = 2) -> None:
        self.lock = threading.Lock()
        self.values: dict[bytes, bytes] = {}
        self.replies: dict[tuple[bytes, int], bytes] = {}
        self.acked: dict[bytes, int] = {}
        self.leader = b"$-1\r\n"
        self.members = b"*1\r\n:0\r\n"
        self.on_request: Callable[[Server, list[bytes]], bytes | None] = lambda _s, _r: None
        self.lost_replies = 0
        self.servers = [Server(self) for _ in range(size)]
        self.addresses = [server.address for server in self.servers]

    def tell_servers(self, *addresses: str) -> None:
        bulks = [b"$%d\r\n%b\r\n" % (len(address), address.encode()) for address in addresses]
        self.members = b"*%d\r\n:5\r\n%b" % (1 + len(bulks), b"".join(bulks))

    def reply(self, server: Server, request: list[bytes]) -> bytes | None:
        """The reply as bytes; b"" is none for now, None ends the connection."""
        instead = self.on_request(server, request)
        if instead is not None:
            return instead
        with self.lock:
            reply = self.execute(request)
            if request[0] == b"ONCE" and self.lost_replies:
                self.lost_replies -= 1
                return None
            return reply

    def execute(self, request: list[bytes]) -> bytes:
        match request:
            case [b"QUORATE.LEADER"]:
                return self.leader
            case [b"QUORATE.SERVERS"]:
                return self.members
            case [b"QUORATE.SESSION"]:
                self.acked[b"%d" % (len(self.acked) + 1)] = 0
                return b":%d\r\n" % len(self.acked)
            case [b"ONCE", session, seq, acked, *command]:
                self.acked[session] = max(self.acked[session], int(acked))
                if int(seq) <= self.acked[session]:
                    return b"-STALE\r\n"
                if (session, int(seq)) not in self.replies:
                    self.replies[session, int(seq)] = self.execute(command)
                return self.replies[session, int(seq)]
            case [b"SET", key, value]:
                self.values[key] = value
                return b"+OK\r\n"
            case [b"APPEND", _, b"too large"]:
                return b"-ERR value is too large\r\n"
            case [b"APPEND", key, value]:
                self.values[key] = self.values.get(key, b"") + value
                return b":%d\r\n" % len(self.values[key])
            case [b"DEL", key]:
                return b":%d\r\n" % (self.values.pop(key, None) is not None)
            case [b"GET", key]:
                found = self.values.get(key)
                return b"$-1\r\n" if found is None else b"$%d\r\n%b\r\n" % (len(found), found)
        return b"-ERR unknown command\r\n"

    def sendings(self, command: bytes) -> int:
        return sum(command in request for server in self.servers for request in server.seen)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    for server in cluster.servers:
        server.stop()


# --------------------------------------------------------------------- both shells, used alike


class BlockingShell:
    def __init__(self, servers: Any, settings: ClerkSettings | None = None) -> None:
        self.clerk = Clerk(servers, settings=settings)

    def call(self, name: str, *arguments: Any, timeout: float | None = 20) -> Any:
        return getattr(self.clerk, name)(*arguments, timeout=timeout)

    def close(self) -> None:
        self.clerk.close()

    def end(self) -> None:
        self.close()


class AsyncShell:
    def __init__(self, servers: Any, settings: ClerkSettings | None = None) -> None:
        self.clerk = AsyncClerk(servers, settings=settings)
        self.runner = self.make_runner()

    def make_runner(self) -> asyncio.Runner:
        return asyncio.Runner()

    def call(self, name: str, *arguments: Any, timeout: float | None = 20) -> Any:
        return self.runner.run(getattr(self.clerk, name)(*arguments, timeout=timeout))

    def close(self) -> None:
        self.runner.run(self.clerk.close())

    def end(self) -> None:
        self.close()
        self.runner.close()


class UvloopShell(AsyncShell):
    def make_runner(self) -> asyncio.Runner:
        return asyncio.Runner(loop_factory=uvloop.new_event_loop)


Shell = BlockingShell | AsyncShell
MakeShell = Callable[..., Shell]


@pytest.fixture(params=[BlockingShell, AsyncShell, UvloopShell])
def make_shell(request: pytest.FixtureRequest) -> Iterator[MakeShell]:
    yield from shells(request.param)


def shells(kind: type[Shell]) -> Iterator[MakeShell]:
    made: list[Shell] = []

    def make(servers: Any, settings: ClerkSettings | None = None) -> Shell:
        made.append(kind(servers, settings))
        return made[-1]

    yield make
    for shell in made:
        shell.end()


@pytest.fixture(params=[BlockingShell, AsyncShell])
def resolving_shell(request: pytest.FixtureRequest) -> Iterator[MakeShell]:
    """Those that look names up by Python's own function, which a test can replace."""
    yield from shells(request.param)


def unused_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_the_operations_do_what_they_say(cluster: Cluster, make_shell: MakeShell) -> None:
    shell = make_shell(cluster.addresses)
    assert shell.call("get", "k") == b""
    assert shell.call("get_or_none", b"k") is None
    assert shell.call("append", "k", b"a") == 1
    assert shell.call("append", "k", "é") == 3
    assert shell.call("get", "k") == "aé".encode()
    assert shell.call("put", "k", "") is None
    assert shell.call("get_or_none", "k") == b""
    assert shell.call("delete", "k") is True
    assert shell.call("delete", "k") is False


def test_servers_may_be_one_string(cluster: Cluster, make_shell: MakeShell) -> None:
    shell = make_shell(",".join(cluster.addresses))
    assert shell.call("append", "k", "a") == 1


def test_it_goes_to_the_leader(cluster: Cluster, make_shell: MakeShell) -> None:
    cluster.leader = f"+{cluster.addresses[1]}\r\n".encode()
    shell = make_shell(cluster.addresses[0])
    shell.call("put", "k", "v")
    assert cluster.servers[0].seen == [[b"QUORATE.SERVERS"], [b"QUORATE.LEADER"]]


def test_a_write_whose_replies_are_lost_is_executed_once(
    cluster: Cluster, make_shell: MakeShell
) -> None:
    cluster.lost_replies = 3
    shell = make_shell(cluster.addresses)
    assert shell.call("append", "k", "x") == 1
    assert cluster.sendings(b"ONCE") == 4
    assert cluster.values == {b"k": b"x"}


def test_another_server_serves_when_one_is_gone(cluster: Cluster, make_shell: MakeShell) -> None:
    shell = make_shell([unused_address(), *cluster.addresses])
    shell.call("put", "k", "v")
    cluster.servers[0].stop()
    cluster.servers[0].drop_connections()
    assert shell.call("append", "k", "w") == 2


def test_names_that_do_not_resolve_are_passed_by(cluster: Cluster, make_shell: MakeShell) -> None:
    impossible = f"{'a' * 70}.invalid:1"
    settings = ClerkSettings(connect_timeout_us=200_000)
    shell = make_shell(["nowhere.invalid:1", impossible, *cluster.addresses], settings)
    assert shell.call("append", "k", "w") == 1


def test_a_name_that_does_not_resolve_yet_is_looked_up_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, resolving_shell: MakeShell
) -> None:
    """As when the machine of a server is still to get its name, or gets a new one."""
    looked_up: list[str] = []
    port = int(cluster.addresses[0].partition(":")[2])

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        looked_up.append(host)
        if len(looked_up) <= 3:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return LOOK_UP("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    shell = resolving_shell(f"new.example:{port}")
    assert shell.call("append", "k", "v") == 1
    assert looked_up == ["new.example"] * 4
    cluster.servers[0].drop_connections()
    assert shell.call("append", "k", "w") == 2
    assert looked_up == ["new.example"] * 5, "it may mean another machine by now"


def test_it_learns_which_servers_there_are(cluster: Cluster, make_shell: MakeShell) -> None:
    shell = make_shell(cluster.addresses[0])
    cluster.tell_servers(*cluster.addresses)
    shell.call("put", "k", "v")
    cluster.servers[0].stop()
    assert shell.call("append", "k", "w") == 2
    assert cluster.servers[1].seen


def test_servers_that_cannot_be_reached_by_the_names_that_they_give_are_served_by_those_given(
    cluster: Cluster, make_shell: MakeShell
) -> None:
    settings = ClerkSettings(connect_timeout_us=200_000)
    shell = make_shell(cluster.addresses, settings)
    cluster.tell_servers("inside.invalid:1", unused_address())
    shell.call("put", "k", "v")
    cluster.servers[0].stop()
    assert shell.call("append", "k", "w") == 2


def test_a_connection_that_was_lost_while_idle_costs_no_doubt(
    cluster: Cluster, make_shell: MakeShell
) -> None:
    shell = make_shell(cluster.addresses)
    shell.call("append", "k", "v")
    for server in cluster.servers:
        server.drop_connections()
    shell.call("append", "k", "w")
    assert cluster.sendings(b"w") == 1


def test_something_that_is_no_server_of_ours_is_passed_by(
    cluster: Cluster, make_shell: MakeShell
) -> None:
    first = cluster.servers[0]
    cluster.on_request = lambda server, _: b"HTTP/1.1 400 \r\n\r\n" if server is first else None
    shell = make_shell(cluster.addresses)
    assert shell.call("append", "k", "v") == 1


def test_large_values_go_through(cluster: Cluster, make_shell: MakeShell) -> None:
    value = bytes(range(256)) * 8 * 1024  # the largest that a server reads
    shell = make_shell(cluster.addresses)
    shell.call("put", "k", value)
    assert shell.call("get", "k") == value


def test_a_usage_error_is_raised(cluster: Cluster, make_shell: MakeShell) -> None:
    shell = make_shell(cluster.addresses)
    with pytest.raises(CommandError, match=r"^ERR value is too large$"):
        shell.call("append", "k", "too large")
    assert shell.call("append", "k", "v") == 1


def test_without_any_server_nothing_was_executed(make_shell: MakeShell) -> None:
    shell = make_shell(unused_address())
    with pytest.raises(NotExecutedError, match="no connection"):
        shell.call("append", "k", "x", timeout=0.05)
    with pytest.raises(UnavailableError):
        shell.call("get", "k", timeout=0.05)


def test_a_write_without_a_reply_is_unknown_at_its_deadline_and_fenced_before_the_next_read(
    cluster: Cluster, make_shell: MakeShell
) -> None:
    shell = make_shell(cluster.addresses)
    shell.call("append", "k", "a")
    cluster.on_request = lambda _, request: b"" if b"b" in request else None
    began = time.perf_counter()
    with pytest.raises(OutcomeUnknownError):
        shell.call("append", "k", "b", timeout=0.1)
    assert 0.09 < time.perf_counter() - began < 2
    cluster.on_request = lambda _server, _request: None
    for server in cluster.servers:
        server.drop_connections()
    assert shell.call("get", "k") == b"a"
    assert cluster.execute([b"ONCE", b"1", b"2", b"1", b"APPEND", b"k", b"b"]) == b"-STALE\r\n"
    assert shell.call("append", "k", "c") == 2


def test_after_closing_nothing_is_executed(cluster: Cluster, make_shell: MakeShell) -> None:
    shell = make_shell(cluster.addresses)
    shell.call("append", "k", "x")
    shell.close()
    with pytest.raises(NotExecutedError, match="closed"):
        shell.call("append", "k", "x")
    shell.close()


@pytest.mark.parametrize("clerk", [Clerk, AsyncClerk])
@pytest.mark.parametrize("servers", ["", "localhost", "::1:7001", ["127.0.0.1:0"]])
def test_a_bad_address_is_refused_with_what_is_right(clerk: Any, servers: Any) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        clerk(servers)


def test_bad_arguments_are_refused_before_anything_is_sent(
    cluster: Cluster, make_shell: MakeShell
) -> None:
    shell = make_shell(cluster.addresses)
    with pytest.raises(TypeError, match="value must be bytes"):
        shell.call("put", "k", 5)
    with pytest.raises(ValueError, match="timeout"):
        shell.call("put", "k", "v", timeout=-1)
    assert all(not server.seen for server in cluster.servers)


# --------------------------------------------------------------------- asyncio's own


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Runs it, and sees that it leaves no task behind."""

    async def checked() -> None:
        await asyncio.wait_for(test(), 20)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(checked(), debug=True)


def test_calls_at_the_same_time_share_a_session_and_a_connection(cluster: Cluster) -> None:
    async def test() -> None:
        async with AsyncClerk(cluster.addresses) as clerk:
            lengths = await asyncio.gather(*(clerk.append("k", "x") for _ in range(1_500)))
            assert sorted(lengths) == list(range(1, 1_501))

    run(test)
    assert len(cluster.acked) == 1
    assert [len(server.connections) for server in cluster.servers] == [1, 0]


def test_a_cancelled_write_is_fenced_and_the_others_go_on(cluster: Cluster) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()

        def hold_back(_server: Server, request: list[bytes]) -> bytes | None:
            if b"b" not in request or request[3] != b"1":
                return None
            loop.call_soon_threadsafe(arrived.set)
            return b""

        async with AsyncClerk(cluster.addresses) as clerk:
            await clerk.append("k", "a")
            cluster.on_request = hold_back
            task = asyncio.create_task(clerk.append("k", "b"))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            cluster.servers[0].drop_connections()
            assert await clerk.get("k") == b"a"
            assert await clerk.append("k", "c") == 2

    run(test)


def test_a_call_may_be_cancelled_when_its_outcome_is_on_its_way(cluster: Cluster) -> None:
    async def test() -> None:
        async with AsyncClerk(cluster.addresses) as clerk:
            task = asyncio.create_task(clerk.append("k", "a", timeout=0))
            asyncio.get_running_loop().call_soon(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await clerk.append("k", "b") == 1

    run(test)


def test_closing_ends_the_calls_under_way(cluster: Cluster) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()

        def hold_back(_server: Server, request: list[bytes]) -> bytes | None:
            if b"APPEND" not in request:
                return None
            loop.call_soon_threadsafe(arrived.set)
            return b""

        cluster.on_request = hold_back
        clerk = AsyncClerk(cluster.addresses)
        write = asyncio.create_task(clerk.append("k", "x"))
        await arrived.wait()
        await clerk.close()
        with pytest.raises(OutcomeUnknownError, match="closed"):
            await write

    run(test)


def test_closing_ends_an_attempt_to_connect() -> None:
    async def test() -> None:
        clerk = AsyncClerk("nowhere.invalid:1")
        write = asyncio.create_task(clerk.append("k", "x"))
        await asyncio.sleep(0)
        await clerk.close()
        with pytest.raises(NotExecutedError, match="closed"):
            await write

    run(test)


def test_an_async_clerk_belongs_to_one_event_loop(cluster: Cluster) -> None:
    clerk = AsyncClerk(cluster.addresses)
    with asyncio.Runner() as runner:
        runner.run(clerk.append("k", "x"))
        with pytest.raises(RuntimeError, match="event loop"):
            asyncio.run(clerk.append("k", "x"))
        runner.run(clerk.close())


# --------------------------------------------------------------------- the blocking one's own


def test_a_forked_process_does_not_use_its_parents_clerk(cluster: Cluster) -> None:
    # On the same socket each would take replies of the other for its own.
    with Clerk(cluster.addresses) as clerk:
        clerk.append("k", "a", timeout=20)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            said = b"nothing"
            try:
                clerk.append("k", "b", timeout=20)
            except RuntimeError as error:
                said = str(error).encode()
            clerk.close()
            os.write(write, said)
            os._exit(0)
        os.waitpid(child, 0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            assert pipe.read().startswith(b"a Clerk belongs to the process that made it")
        assert clerk.append("k", "c", timeout=20) == 2


def test_threads_take_turns(cluster: Cluster) -> None:
    with Clerk(cluster.addresses) as clerk:
        lengths: list[int] = []

        def work() -> None:
            lengths.extend(clerk.append("k", "x", timeout=20) for _ in range(50))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(lengths) == list(range(1, 201))


def test_waiting_for_another_threads_call_counts_towards_the_deadline(cluster: Cluster) -> None:
    arrived = threading.Event()

    def hold_back(_server: Server, request: list[bytes]) -> bytes | None:
        if b"slow" not in request:
            return None
        arrived.set()
        return b""

    cluster.on_request = hold_back
    with Clerk(cluster.addresses) as clerk:

        def be_slow() -> None:
            with contextlib.suppress(UnavailableError):
                clerk.get("slow", timeout=0.5)

        slow = threading.Thread(target=be_slow)
        slow.start()
        arrived.wait(20)
        with pytest.raises(NotExecutedError, match="other threads"):
            clerk.append("k", "x", timeout=0.01)
        slow.join()
        assert clerk.append("k", "x", timeout=20) == 1


class Interrupted(BaseException):
    pass


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Gives a function with which another thread interrupts this one, as Ctrl-C would."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    me = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        yield lambda: signal.pthread_kill(me, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_interrupted_write_is_fenced_before_the_next_read(cluster: Cluster) -> None:
    with Clerk(cluster.addresses) as clerk, interruptible() as interrupt:
        clerk.append("k", "a", timeout=20)
        held: list[list[bytes]] = []

        def hold_back(_server: Server, request: list[bytes]) -> bytes | None:
            if b"b" not in request:
                return None
            held.append(request)
            cluster.on_request = lambda _server, _request: None
            interrupt()
            return b""

        cluster.on_request = hold_back
        with pytest.raises(Interrupted):
            clerk.append("k", "b", timeout=20)
        cluster.servers[0].drop_connections()
        assert clerk.get("k", timeout=20) == b"a"
        assert cluster.execute(held[0]) == b"-STALE\r\n"
        assert clerk.append("k", "c", timeout=20) == 2


def test_interrupts_at_any_point_execute_nothing_twice_and_mix_up_no_replies(
    cluster: Cluster,
) -> None:
    """Ctrl-C may strike between any two steps of the interpreter; here, any two of our own."""
    in_call = False
    strikes = 0

    def strike(_number: int, frame: FrameType | None) -> None:
        nonlocal in_call, strikes
        if in_call and frame is not None and "/quorate/" in frame.f_code.co_filename:
            in_call = False
            strikes += 1
            raise Interrupted

    acknowledged: list[bytes] = []
    before = signal.signal(signal.SIGVTALRM, strike)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.001, 0.001)  # of the time that this process runs
    try:
        with Clerk(cluster.addresses) as clerk:
            for number in range(100_000):
                if strikes == 50:
                    break
                with contextlib.suppress(Interrupted):
                    in_call = True
                    clerk.append("k", f"{number};", timeout=20)
                    in_call = False
                    acknowledged.append(b"%d" % number)
            executed = Counter(clerk.get("k", timeout=20).split(b";")[:-1])
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert strikes == 50
    assert executed.keys() >= set(acknowledged)
    assert set(executed.values()) == {1}
