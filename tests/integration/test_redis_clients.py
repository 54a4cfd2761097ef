"""Unmodified Redis clients against each node, be it the leader or not."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import redis
import redis.asyncio

if TYPE_CHECKING:
    from tests.integration.conftest import Cluster

    from quorate.raft.configuration import NodeId

pytestmark = pytest.mark.processes

needs_redis_cli = pytest.mark.skipif(
    shutil.which("redis-cli") is None, reason="redis-cli is not installed (redis-tools)"
)
needs_redis_benchmark = pytest.mark.skipif(
    shutil.which("redis-benchmark") is None, reason="redis-benchmark is not installed (redis-tools)"
)


@pytest.fixture(params=["leader", "follower", "other follower"])
def node(request: pytest.FixtureRequest, shared_cluster: Cluster) -> NodeId:
    nodes = [shared_cluster.leader(), *shared_cluster.followers()]
    return nodes[["leader", "follower", "other follower"].index(request.param)]


# --------------------------------------------------------------------- redis-cli


def redis_cli(port: int, *arguments: str, typed: str | None = None) -> str:
    """What redis-cli prints, of its arguments or of what is piped into it."""
    done = subprocess.run(
        ["redis-cli", "-p", str(port), *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@needs_redis_cli
def test_three_ports_are_one_table(shared_cluster: Cluster) -> None:
    a, b, c = map(shared_cluster.port, shared_cluster.nodes)
    assert redis_cli(a, "SET", "cli", "a") == "OK\n"
    assert redis_cli(b, "APPEND", "cli", "b") == "2\n"
    assert redis_cli(c, "GET", "cli") == "ab\n"


@needs_redis_cli
def test_redis_cli_in_both_protocols(shared_cluster: Cluster, node: NodeId) -> None:
    port = shared_cluster.port(node)
    typed = "SET x 'two words'\nGET x\nEXISTS x nowhere\nMGET x nowhere\nDEL x\nPING\n"
    printed = "OK\ntwo words\n1\ntwo words\n\n1\nPONG\n"
    assert redis_cli(port, typed=typed) == printed
    assert redis_cli(port, "-3", typed=typed) == printed
    assert redis_cli(port, "-2", "NOSUCH", "x").startswith("ERR unknown command 'NOSUCH'")
    assert "summary" in redis_cli(port, "COMMAND", "DOCS", "get")


@needs_redis_cli
def test_redis_cli_at_a_terminal_asks_for_the_commands_and_explains_them(
    shared_cluster: Cluster, node: NodeId
) -> None:
    # At a terminal redis-cli begins with COMMAND DOCS; HELP answers from what that returned.
    terminal, side_of_cli = pty.openpty()
    process = subprocess.Popen(
        ["redis-cli", "-p", str(shared_cluster.port(node))],
        stdin=side_of_cli,
        stdout=side_of_cli,
        stderr=side_of_cli,
        env={**os.environ, "TERM": "dumb", "REDISCLI_HISTFILE": "/dev/null"},
    )
    try:
        os.close(side_of_cli)
        os.write(terminal, b"HELP QUORATE.SESSION\nGET nothing\nQUIT\n")
        shown = b""
        try:
            while data := os.read(terminal, 4096):
                shown += data
        except OSError:
            pass  # how Linux says that nobody has the terminal open any more
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert b"Opens a session." in shown
    assert b"(nil)" in shown


def test_inline_commands(shared_cluster: Cluster, node: NodeId) -> None:
    with shared_cluster.connect(node) as client:
        client.send(b"SET inline 'a b'\r\nget inline\nPING\r\n\r\nEXISTS inline\r\n")
        assert client.replies(4) == [b"OK", b"a b", b"PONG", 1]


# --------------------------------------------------------------------- redis-py


def test_redis_py_with_default_settings(shared_cluster: Cluster, node: NodeId) -> None:
    with shared_cluster.redis(node) as client:
        assert client.ping() is True
        assert client.echo("hello") == b"hello"
        assert client.client_id() > 0
        assert client.get("py") is None
        assert client.set("py", "a") is True
        assert client.append("py", "b") == 2
        assert client.get("py") == b"ab"
        assert client.strlen("py") == 2
        assert client.exists("py", "py", "nowhere") == 2
        assert client.mset({"py1": "1", "py2": b"\x00\xff"}) is True
        assert client.mget("py1", "nowhere", "py2") == [b"1", None, b"\x00\xff"]
        keys = client.dbsize()
        assert client.delete("py", "py1", "py2", "nowhere") == 3
        assert client.dbsize() == keys - 3
        assert client.info("replication")["role"] == "master"
        # RESP3 is what this client speaks by default, and what it was answered with.
        assert client.execute_command("HELLO")[b"proto"] == 3
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.lpush("py", "x")
        with pytest.raises(redis.ResponseError, match="syntax error"):
            client.set("py", "x", ex=10)


def test_redis_py_in_resp2(shared_cluster: Cluster, node: NodeId) -> None:
    host, port = shared_cluster.address(node)
    with redis.Redis(host, port, protocol=2, decode_responses=True) as client:
        assert client.set("resp2", "é") is True
        assert client.mget("resp2", "nowhere") == ["é", None]
        assert client.delete("resp2") == 1


def test_a_redis_py_pipeline_takes_effect_in_order(shared_cluster: Cluster, node: NodeId) -> None:
    with shared_cluster.redis(node) as client:
        pipeline = client.pipeline(transaction=False)
        pipeline.delete("pipe").append("pipe", "a").append("pipe", "b").get("pipe")
        pipeline.set("pipe", "c").get("pipe").strlen("pipe").delete("pipe").get("pipe")
        assert pipeline.execute()[1:] == [1, 2, b"ab", True, b"c", 1, 1, None]
        for number in range(1000):
            pipeline.append("pipe", f"{number};")
        pipeline.get("pipe").delete("pipe")
        value = pipeline.execute()[-2]
        assert value == "".join(f"{number};" for number in range(1000)).encode()


def test_redis_py_for_asyncio(shared_cluster: Cluster, node: NodeId) -> None:
    async def test() -> None:
        host, port = shared_cluster.address(node)
        async with redis.asyncio.Redis(host=host, port=port) as client:
            assert await client.set("aio", "") is True
            lengths = await asyncio.gather(*(client.append("aio", "x") for _ in range(100)))
            assert sorted(lengths) == list(range(1, 101))
            assert await client.get("aio") == b"x" * 100
            async with client.pipeline(transaction=False) as pipeline:
                pipeline.strlen("aio")
                pipeline.delete("aio")
                pipeline.exists("aio")
                assert await pipeline.execute() == [100, 1, 0]

    asyncio.run(test())


# --------------------------------------------------------------------- redis-benchmark


@needs_redis_benchmark
def test_redis_benchmark_finishes_without_an_error(shared_cluster: Cluster, node: NodeId) -> None:
    port = str(shared_cluster.port(node))
    tests = "ping_mbulk,set,get,mset"
    done = subprocess.run(
        ["redis-benchmark", "-p", port, "-t", tests, "-n", "2000", "-q"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line.strip() for line in re.split(r"[\r\n]", done.stdout)]
    results = [line for line in lines if "requests per second" in line]
    assert done.returncode == 0
    assert done.stderr == ""
    names = [line.split(":")[0] for line in results]
    assert names == ["PING_MBULK", "SET", "GET", "MSET (10 keys)"]
    assert not any("error" in line.lower() or "warning" in line.lower() for line in lines)
    print(*results, sep="\n")
