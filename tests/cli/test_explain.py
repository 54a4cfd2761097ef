"""What `quorate explain` makes of what the nodes say."""

from __future__ import annotations

import msgspec
import pytest
from tests.cli import answering

from quorate.cli.explain import explanation
from quorate.node.status import LinkStatus, MemberStatus, NodeStatus


def member(
    node: int,
    *,
    votes: bool = True,
    silent_ms: int | None = None,
    is_in_touch: bool | None = None,
    data_id: str = "",
) -> MemberStatus:
    """What one node says of another; by default it does not lead, and so knows little."""
    return msgspec.structs.replace(
        answering.member(node, f"127.0.0.1:700{node}"),
        votes=votes,
        peer_address=f"127.0.0.1:800{node}",
        data_id=data_id,
        match_index=None if silent_ms is None else 10,
        silent_ms=silent_ms,
        is_in_touch=is_in_touch,
    )


def status(node: int, role: str = "follower", **changes: object) -> NodeStatus:
    """What one of three nodes says; by default it hears no leader, and is up to date."""
    usual = answering.status(
        node,
        f"127.0.0.1:700{node}",
        *(member(1), member(2), member(3)),
        role=role,
        term=5,
        last_term=5,
        commit_index=10,
        last_applied=10,
        last_index=10,
        data_id="d",
    )
    return msgspec.structs.replace(usual, **changes)


def leader(*others: MemberStatus, **changes: object) -> NodeStatus:
    return status(1, "leader", members=(member(1, data_id="d"), *others), **changes)


def in_touch(node: int, *, silent_ms: int = 10) -> MemberStatus:
    return member(node, silent_ms=silent_ms, is_in_touch=True)


def silent(node: int, *, silent_ms: int) -> MemberStatus:
    return member(node, silent_ms=silent_ms, is_in_touch=False)


def wiped(node: int, **changes: object) -> NodeStatus:
    """What a member says that was started with `--join` on an empty directory."""
    new = status(node, data_id=f"new data of {node}", members=(), configuration_index=0)
    return msgspec.structs.replace(new, **{"last_index": 0, "last_term": 0, **changes})


KNOWN = tuple(member(node, data_id=f"data of {node}") for node in (1, 2, 3))


def no_link(to: int, trouble: str, *, is_refused: bool = False) -> tuple[LinkStatus]:
    return (LinkStatus(to, is_up=False, is_refused=is_refused, trouble=trouble),)


CUT = no_link(3, "127.0.0.1:8003: Connection refused")
REFUSED = no_link(2, "node 2 has lost its data", is_refused=True)
STRANGE = no_link(3, "not a quorate server, it sent b'refused: it refuses'")


@pytest.mark.parametrize(
    ("statuses", "serves", "texts"),
    [
        ([], False, ["none of these nodes answers: start them"]),
        (
            [leader(in_touch(2), in_touch(3)), status(2), status(3)],
            True,
            ["node 1 leads term 5"],
        ),
        (
            [leader(in_touch(2, silent_ms=2900), in_touch(3, silent_ms=2900))],
            True,
            ["node 1 leads term 5"],
        ),
        (
            [leader(in_touch(2), silent(3, silent_ms=90_000), links=CUT), status(2)],
            True,
            [
                "node 1 leads term 5",
                "voter 3 has answered nothing for 90 s",
                "  127.0.0.1:8003: Connection refused",
                "  start it, or look at the network; if it is lost for ever, `quorate member remov",
            ],
        ),
        (
            [leader(silent(2, silent_ms=3000), in_touch(3), links=REFUSED), status(2), status(3)],
            True,
            [
                "node 1 leads term 5",
                "voter 2 has answered nothing for 3 s",
                "  node 2 has lost its data",
            ],
        ),
        (
            [leader(in_touch(2), silent(3, silent_ms=3000), links=STRANGE), status(2)],
            True,
            [
                "node 1 leads term 5",
                "voter 3 has answered nothing for 3 s",
                "  not a quorate server, it sent b'refused: it refuses'",
                "  start it, or look at the network",
            ],
        ),
        (
            [leader(in_touch(2), in_touch(3), last_index=14), status(2), status(3)],
            True,
            [
                "node 1 leads term 5",
                "4 entries of its log are not committed yet",
                "voter 2 lacks 4 entries and is getting them",
                "voter 3 lacks 4 entries",
            ],
        ),
        (
            [leader(silent(2, silent_ms=600), silent(3, silent_ms=600))],
            False,
            [
                "node 1 leads term 5, but a majority does not answer it",
                "2 of the 3 voters are needed, and only 1 of them can be reached from here",
                "voter 2 at 127.0.0.1:7002 cannot be reached: start it",
                "voter 3 at 127.0.0.1:7003 cannot be reached",
                "if a majority is lost for ever, `quorate recover`",
            ],
        ),
        (
            [status(1), status(2, last_index=7), status(3, snapshot_is_lost=True)],
            False,
            [
                "there is no leader",
                "node 2 cannot lead: its log ends with entry 7 of term 5, that of node 1 with",
                "node 3 cannot lead: its snapshot is lost",
                "3 of the 3 voters answer: ask again in a second",
            ],
        ),
        (
            [status(1, links=REFUSED), status(2)],
            False,
            [
                "there is no leader",
                "2 of the 3 voters answer",
                "node 1 does not reach node 2, which answers here: node 2 has lost its data",
            ],
        ),
        (
            [
                status(1, members=KNOWN, data_id="data of 1", links=REFUSED),
                wiped(2, client_address="127.0.0.1:9999"),
                status(3, members=KNOWN, data_id="data of 3", links=REFUSED),
            ],
            False,
            [
                "there is no leader",
                "node 2 at 127.0.0.1:9999 has lost its data, and does not count as a voter: st",
                "  if that is lost, `quorate member rejoin 127.0.0.1:9999` as soon as there",
                "2 of the 3 voters answer: ask again in a second",
            ],
        ),
        (
            [
                status(1, members=KNOWN, data_id="data of 1", links=REFUSED),
                wiped(2, data_id="newer data of 2"),
                wiped(2),
            ],
            False,
            [
                "there is no leader",
                "2 of the 3 voters are needed, and only 1 of them can be reached from here",
                "node 2 at 127.0.0.1:7002 has lost its data, and does not count as a voter: st",
                "voter 3 at 127.0.0.1:7003 cannot be reached",
                "if a majority is lost for ever, `quorate recover`",
            ],
        ),
        (
            [
                leader(
                    member(2, silent_ms=5000, is_in_touch=False, data_id="data of 2"),
                    member(3, silent_ms=5000, is_in_touch=False, data_id="data of 3"),
                    links=REFUSED,
                ),
                wiped(2, members=KNOWN, links=no_link(1, "rejoin")),
                wiped(3),
            ],
            False,
            [
                "node 1 leads term 5, but a majority does not answer it",
                "2 of the 3 voters are needed, and only 1 of them",
                "node 2 at 127.0.0.1:7002 has lost its data",
                "node 3 at 127.0.0.1:7003 has lost its data",
                "if a majority is lost for ever, `quorate recover`",
            ],
        ),
        (
            [wiped(1), status(2, configuration_index=0)],
            False,
            [
                "there is no leader",
                "2 of the 3 voters are needed",
                "node 1 at 127.0.0.1:7001 has lost its data",
                "voter 3 at 127.0.0.1:7003 cannot be reached",
                "if a majority is lost for ever",
            ],
        ),
        (
            [
                status(1, members=KNOWN, data_id="data of 1"),
                status(2, members=KNOWN, data_id="data of 2"),
                wiped(2),
                wiped(2, data_id="newer data of 2"),
            ],
            False,
            [
                "there is no leader",
                "2 of the 3 voters answer",
                "node 2 at 127.0.0.1:7002 is no member yet: `quorate member add 127.0.0.1:7002`",
                "node 2 at 127.0.0.1:7002 is no member yet: ",
            ],
        ),
        (
            [
                leader(
                    member(2, silent_ms=10, is_in_touch=True, data_id="data of 2"),
                    data_id="d",
                ),
                status(1, client_address="127.0.0.1:9999", data_id="old", links=REFUSED),
                status(2, data_id="data of 2"),
                status(4, data_id="older", links=REFUSED),
                wiped(5),
            ],
            True,
            [
                "node 1 leads term 5",
                "node 1 at 127.0.0.1:9999 is no member any more: stop it",
                "node 4 at 127.0.0.1:7004 is no member any more: stop it",
                "node 5 at 127.0.0.1:7005 is no member yet: `quorate member add 127.0.0.1:7005`",
            ],
        ),
        (
            [status(4, members=())],
            False,
            ["node 4 belongs to no cluster yet: `quorate member add 127.0.0.1:7004`"],
        ),
    ],
    ids=[
        "nobody",
        "well",
        "rare heartbeats",
        "one is down",
        "one is refused",
        "one speaks of refusals",
        "behind",
        "leads alone",
        "who may not lead",
        "refused, but not known to be wiped",
        "wiped",
        "wiped when there is no majority without it",
        "all others are wiped",
        "wiped before its data was known",
        "another node of a voter's number",
        "strangers",
        "not let in yet",
    ],
)
def test_what_is_wrong_and_what_to_do(
    statuses: list[NodeStatus], serves: object, texts: list[str]
) -> None:
    lines, does_serve = explanation(statuses)
    assert does_serve is serves
    assert len(lines) == len(texts), lines
    for line, text in zip(lines, texts, strict=True):
        assert line.startswith(text)
