"""The persister: a disk that can be copied, and looked at as two byte strings."""

from quorate.lab.persister import Persister
from quorate.raft.configuration import Member, NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.storage.store import Store

ONE = NodeId(1)


def initialized() -> Persister:
    persister = Persister()
    Store.initialize(
        persister,
        cluster_id="lab",
        node=ONE,
        data_id="lab-1",
        members=(Member(ONE),),
        segment_size=4096,
    )
    return persister


def write(store: Store, number: int, data: bytes) -> None:
    entry = Entry(number, 1, 0, EntryKind.DATA, data)
    store.append(LogWrite(number, 1, ONE, (entry,)))
    store.sync()


def entries(persister: Persister) -> list[bytes]:
    return [entry.data for entry in Store.open(persister.copy()).take_durable_state().entries]


def test_a_new_one_is_empty() -> None:
    assert Persister().read_raft_state() == b""
    assert Persister().read_snapshot() == b""
    assert Persister().raft_state_size == 0
    assert Persister().snapshot_size == 0


def test_what_a_crashed_life_still_writes_goes_nowhere() -> None:
    persister = initialized()
    store = Store.open(persister)
    write(store, 1, b"before")
    successor = persister.copy()
    write(store, 2, b"after")
    assert entries(successor) == [b"before"]
    assert entries(persister) == [b"before", b"after"]


def test_it_can_be_made_again_from_what_it_gives() -> None:
    persister = initialized()
    store = Store.open(persister)
    for number in range(1, 100):
        write(store, number, b"x" * 100)
    again = Persister(persister.read_raft_state(), persister.read_snapshot())
    assert again.read_raft_state() == persister.read_raft_state()
    assert len(entries(again)) == 99


def test_an_almost_empty_state_is_small_and_entries_are_as_large_as_the_course_expects() -> None:
    persister = initialized()
    store = Store.open(persister)
    empty = persister.raft_state_size
    assert empty < 200
    for number in range(1, 11):
        write(store, number, b"\x81" * 10)
    per_entry = (persister.raft_state_size - empty) / 10
    assert 45 <= per_entry <= 55


def test_its_size_is_that_of_the_state_and_not_of_the_files() -> None:
    persister = initialized()
    store = Store.open(persister)
    for number in range(1, 100):
        write(store, number, b"x" * 100)
    assert persister.raft_state_size == store.raft_state_bytes
