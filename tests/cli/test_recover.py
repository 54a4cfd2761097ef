"""`quorate recover`: it shows before it does, and is hard to do by mistake."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate.raft.configuration import Member, NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.runtime.disk import DirectoryDisk
from quorate.storage.store import Store

Quorate = Callable[..., subprocess.CompletedProcess[bytes]]

ME = NodeId(2)
MEMBERS = tuple(Member(NodeId(node), f"h{node}:2", f"h{node}:1") for node in (1, 2, 3))
NEW_CLUSTER = ("--cluster-id=new", "--client=127.0.0.1:1", "--peer=127.0.0.1:2")
FORCE = "--force-new-cluster"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Of node 2 of three, whose log ends with entry 2 of term 7."""
    path = tmp_path / "data"
    with DirectoryDisk(path, create=True) as disk:
        Store.initialize(disk, cluster_id="old", node=ME, data_id="data-2", members=MEMBERS)
        store = Store.open(disk)
        entries = tuple(Entry(index, 7, 0, EntryKind.NO_OP) for index in (1, 2))
        store.append(LogWrite(1, 8, None, entries))
        store.sync()
        store.close()
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.fixture
def recover(quorate: Quorate, data_dir: Path) -> Quorate:
    """`quorate recover` on node 2's directory."""

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return quorate("recover", f"--data-dir={data_dir}", "--id=2", *arguments)

    return run


@pytest.mark.parametrize("arguments", [(), NEW_CLUSTER])
def test_without_force_it_shows_what_there_is_and_what_may_be_lost(
    recover: Quorate, data_dir: Path, arguments: tuple[str, ...]
) -> None:
    before = contents(data_dir)
    ended = recover(*arguments)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert contents(data_dir) == before
    text = ended.stdout.decode()
    lines = text.splitlines()
    assert lines[0] == "node 2 of cluster old, data data-2"
    assert lines[1] == "last entry: term 7, index 2"
    assert [line.split() for line in lines[4:7]] == [
        [str(node), "voter", f"h{node}:2", f"h{node}:1"] for node in (1, 2, 3)
    ]
    assert "acknowledged, and that only lost nodes had, are lost" in text
    assert "greatest term" in text
    assert "Wipe" in text
    assert lines[-1] == "Nothing was changed."


def test_with_force_the_node_is_alone_in_a_new_cluster(recover: Quorate) -> None:
    ended = recover(FORCE, *NEW_CLUSTER)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.startswith(b"node 2 is the only member of the new cluster new, with all")
    assert recover(FORCE, *NEW_CLUSTER).stdout == ended.stdout, "a repetition does no harm"
    assert recover(*NEW_CLUSTER).returncode == 0, "nor does a look at what it would do"
    shown = recover().stdout.decode().splitlines()
    assert shown[0].startswith("node 2 of cluster new, data ")
    assert shown[1] == "last entry: term 9, index 3"
    assert shown[4].split() == ["2", "voter", "127.0.0.1:2", "127.0.0.1:1"]


@pytest.mark.parametrize(
    ("client", "needs_it"), [("127.0.0.1:1", False), ("localhost:1", False), ("10.0.0.2:1", True)]
)
def test_the_start_command_that_it_prints_is_taken(
    recover: Quorate, quorate: Quorate, data_dir: Path, client: str, *, needs_it: bool
) -> None:
    """A node at an address that other machines reach is not started without --insecure."""
    shown = recover(FORCE, "--cluster-id=new", f"--client={client}", "--peer=127.0.0.1:2").stdout
    (line,) = [line for line in shown.decode().splitlines() if line.startswith("start it:")]
    start = line.split()[2:]
    assert start[0] == "quorate"
    assert ("--insecure" in start) is needs_it
    with DirectoryDisk(data_dir):  # in use, so that it ends where a good command comes to
        ended = quorate(*start[1:])
    assert b"insecure" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((FORCE,), 2, "needs --cluster-id, --client and --peer"),
        ((FORCE, *NEW_CLUSTER[:2]), 2, "needs --cluster-id, --client and --peer"),
        ((FORCE, "--cluster-id=old", *NEW_CLUSTER[1:]), 1, "give the new one another"),
        (("--cluster-id=old",), 1, "give the new one another, so that it lets no node"),
        (("--cluster-id=",), 2, "bad cluster id"),
        (("--client=nonsense",), 2, "--client: bad server address"),
        (("--client=a..b:1",), 2, "--client: bad server address 'a..b:1': no host has such a name"),
        (("--client=h:1", "--peer=h:1"), 2, "give --client and --peer different ports"),
        (("--client=0.0.0.0:1",), 2, "--client: nobody else finds the node at 0.0.0.0:1: give"),
        (("--peer=[::0]:1",), 2, "--peer: nobody else finds the node at [::0]:1: give it"),
        (("--id=1",), 1, "the data directory of node 2, not of node 1"),
        (("--data-dir=",), 2, "the name of the directory is empty"),
        (("--data-dir=/nowhere/at/all",), 1, "cannot use /nowhere/at/all"),
    ],
)
def test_what_is_wrong_is_one_line_and_changes_nothing(
    recover: Quorate, data_dir: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    before = contents(data_dir)
    ended = recover(*arguments)
    assert (ended.returncode, ended.stdout) == (status, b"")
    (line,) = ended.stderr.decode().splitlines()
    assert line.startswith("quorate: error: ")
    assert words in line
    assert contents(data_dir) == before


def test_it_refuses_while_the_node_runs(recover: Quorate, data_dir: Path) -> None:
    with DirectoryDisk(data_dir):
        ended = recover(FORCE, *NEW_CLUSTER)
    assert ended.returncode == 1
    assert b"is in use by another process" in ended.stderr
