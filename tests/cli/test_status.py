"""The tables of `quorate status` on terminals of several widths."""

import io

import pytest

from quorate.cli.amounts import shown_bytes, shown_duration, shown_share
from quorate.cli.status import NodeReport, print_tables
from quorate.node.status import SnapshotProgress

REPORTS = [
    NodeReport(
        id=1,
        role="leader",
        term=12,
        commit_index=1_234_567,
        last_applied=1_234_567,
        raft_state_bytes=123_456_789,
        snapshot_index=1_234_000,
        snapshot_bytes=119_500_000,
        snapshot_age_ms=150_000,
        snapshot_taking=SnapshotProgress(1_234_567, 12_345_678, None),
        snapshots_sending=(SnapshotProgress(1_234_000, 12_345_678, 119_500_000, to=3),),
        client_address="127.0.0.1:7001",
        pid=4_194_303,
        reachable=True,
    ),
    NodeReport(client_address="127.0.0.1:17002", reachable=False),
    NodeReport(
        id=3,
        role="follower",
        term=12,
        commit_index=0,
        last_applied=0,
        raft_state_bytes=100,
        snapshot_index=1_000_000,
        snapshot_bytes=0,
        snapshot_is_lost=True,
        snapshot_has_failed=True,
        snapshot_receiving=SnapshotProgress(1_234_000, 0, 119_500_000),
        client_address="127.0.0.1:7003",
        pid=4_194_304,
        reachable=True,
    ),
]


def lines(width: int) -> list[str]:
    file = io.StringIO()
    print_tables(REPORTS, file, for_people=True, width=width)
    return file.getvalue().splitlines()


def test_a_terminal_of_80_columns_has_room_for_whole_addresses_and_pids() -> None:
    assert all(len(line.rstrip()) <= 80 for line in lines(80))
    (leader,) = [line for line in lines(80) if "leader " in line and "7001" in line]
    assert leader.split()[1:] == [
        "leader",
        "12",
        "1234567",
        "1234567",
        "123456789",
        "127.0.0.1:7001",
        "4194303",
    ]
    (gone,) = [line for line in lines(80) if "unreachable" in line]
    assert "127.0.0.1:17002" in gone


def test_each_node_that_has_answered_has_its_snapshots_in_a_second_table() -> None:
    words = [line.split() for line in lines(80)]
    begin = next(position for position, line in enumerate(words) if "AGE" in line)
    rows = [" ".join(line) for line in words[begin + 2 :]]
    assert rows == [
        "1 1234000 114.0 MiB 2 min taking 1234567: 11.8 MiB",
        "sending 1234000 to 3: 11.8 of 114.0 MiB",
        "3 1000000 - - lost: waits for one from the leader",
        "no room on the disk: tries again",
        "receiving 1234000: 0 of 114.0 MiB",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_is_cut_off(width: int) -> None:
    # On one that is too narrow the lines are left to the terminal.
    text = "\n".join(lines(width))
    assert all(report.client_address in text for report in REPORTS)
    assert all(word in text for word in ("unreachable", "123456789", "4194303", "of 114.0 MiB"))


def test_amounts_are_short() -> None:
    assert [shown_bytes(size) for size in (0, 1023, 1024, 1_500_000, 5 * 2**30)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.4 MiB",
        "5.0 GiB",
    ]
    assert shown_share(0, 100) == "0 of 100 B"
    assert shown_share(50, 100) == "50 of 100 B"
    assert shown_share(1024, 3 * 2**20) == "1.0 KiB of 3.0 MiB"
    assert shown_share(2 * 2**20, 3 * 2**20) == "2.0 of 3.0 MiB"
    assert [shown_duration(seconds * 1000) for seconds in (0, 119, 120, 7199, 7200, 10**6)] == [
        "0 s",
        "119 s",
        "2 min",
        "120 min",
        "2.0 h",
        "11.6 d",
    ]
