"""The table of `quorate status` on terminals of several widths."""

import io

import pytest

from quorate.cli.status import NodeReport, print_rich_table

REPORTS = [
    NodeReport(
        id=1,
        role="leader",
        term=12,
        commit_index=1_234_567,
        last_applied=1_234_567,
        raft_state_bytes=123_456_789,
        client_address="127.0.0.1:7001",
        pid=4_194_303,
        reachable=True,
    ),
    NodeReport(client_address="127.0.0.1:17002", reachable=False),
]


def lines(width: int) -> list[str]:
    file = io.StringIO()
    print_rich_table(REPORTS, file, width)
    return file.getvalue().splitlines()


def test_a_terminal_of_80_columns_has_room_for_whole_addresses_and_pids() -> None:
    (leader,) = [line for line in lines(80) if "leader" in line]
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


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_is_cut_off(width: int) -> None:
    # On one that is too narrow the lines are left to the terminal.
    text = "\n".join(lines(width))
    assert all(report.client_address in text for report in REPORTS)
    assert all(word in text for word in ("unreachable", "123456789", "4194303"))
