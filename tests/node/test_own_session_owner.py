"""A node that comes back under its old id with an empty data directory.

The story, found by the simulation (`--churn`, seed 69, 5 seconds): 1. Node 3 lost its disk, was
removed and added again. 2. On its new directory it counted its starts from 1, and asked for the
session of its first start. 3. There was one, of the first start on the old directory, in which
writes had been executed. 4. What it numbered was refused as known already, and it stopped on an
assertion. Or, had the old one started more often, it never got a session at all.
"""

from __future__ import annotations

from quorate.codec.batch import OpenedSession, OpenSession
from quorate.node.limits import NodeLimits
from quorate.node.own_session import OwnSession
from quorate.raft.configuration import NodeId
from quorate.replica.sessions import SessionLimits, SessionTable


def opening(data_id: str, boot: int) -> OpenSession:
    session = OwnSession(NodeId(3), boot, NodeLimits(), data_id)
    ((_, operation),) = session.take_submissions(0)
    assert isinstance(operation, OpenSession)
    return operation


def test_it_gets_a_session_of_its_own_however_often_it_had_started() -> None:
    table = SessionTable(SessionLimits())
    old = opening("old", 2)
    assert table.open_session(old, index=1, time_ms=0) == OpenedSession(1)
    for index, boot in enumerate((1, 2, 3), start=2):
        new = opening("new", boot)
        assert new.owner != old.owner
        assert table.open_session(new, index=index, time_ms=0) == OpenedSession(index)


def test_a_node_without_a_data_id_is_known_by_its_number() -> None:
    assert opening("", 1).owner == 3
