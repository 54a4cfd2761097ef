"""What holds for the checkout as a whole: the layering, and that the documents tell the truth."""

import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from quorate.clerk.codes import exception_of
from quorate.clerk.settings import ClerkSettings
from quorate.codec.batch import Refusal, Submission, encode_batch
from quorate.codec.log import WriteRecord, encode_record
from quorate.codec.peer import encode_message
from quorate.kv import layered_values, table
from quorate.kv.commands import Put, encode_command
from quorate.node import gateway
from quorate.node.commands import COMMANDS
from quorate.node.limits import NodeLimits
from quorate.node.results import NOT_EXECUTED, READ_UNAVAILABLE, UNKNOWN, encode_outcome
from quorate.raft import configuration, leader, log, snapshot_transfer
from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import AppendEntries, AppendEntriesAnswer
from quorate.raft.settings import Settings
from quorate.replica import sessions, state_machine
from quorate.replica.replica import ReplicaLimits
from quorate.replica.sessions import SessionLimits
from quorate.replica.snapshot_taker import SnapshotSettings
from quorate.runtime import (
    clients,
    complaints,
    driver,
    gathering,
    keepalive,
    log_writer,
    peer_links,
    server,
    snapshot_worker,
)
from quorate.storage import frames, segments, snapshot_file
from quorate.wire import peer_hello, peer_link
from quorate.wire.resp_client import ReplyLimits
from quorate.wire.resp_guard import RequestLimits

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def document(name: str) -> str:
    return (DOCS / name).read_text()


def row_of(name: str, text: str) -> str:
    """The row of a table that begins with this name."""
    rows = [line for line in text.splitlines() if line.startswith(f"| `{name}`")]
    assert len(rows) == 1, f"{name} has {len(rows)} rows"
    return rows[0]


# --------------------------------------------------------------------- the layering


def test_imports_go_only_downward() -> None:
    # In a process of its own: it sets logging up anew, and every logger that there is falls silent.
    program = "from importlinter.cli import lint_imports_command as lint; lint()"
    linted = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout


def test_the_architecture_page_has_every_folder() -> None:
    folders = {path.parent.name for path in (ROOT / "src/quorate").glob("*/__init__.py")}
    text = document("architecture.md")
    for folder in folders:
        row_of(f"{folder}/", text)


# --------------------------------------------------------------------- limits


def shown(name: str, value: float) -> str:
    """A limit's default as the page writes it."""
    lower = name.lower()
    if lower.endswith(("_bytes", "_size", "contents", "_state")):
        for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if value > size - 2:
                return f"{round(value / size):,} {unit}"
    for suffix, per_second in (("_us", 1_000_000), ("_ms", 1000), ("_s", 1)):
        if lower.endswith(suffix):
            seconds = value / per_second
            return f"{seconds:,.0f} s" if seconds >= 1 else f"{seconds * 1000:g} ms"
    return f"{value:,}"


def test_defaults_are_written_for_people() -> None:
    assert shown("max_value_bytes", 1024 * 1024) == "1 MiB"
    assert shown("timeout_us", 250_000) == "250 ms"
    assert shown("timeout_us", 500) == "0.5 ms"
    assert shown("ttl_ms", 1_800_000) == "1,800 s"
    assert shown("window", 1024) == "1,024"


@pytest.mark.parametrize(
    "limits",
    [
        RequestLimits(),
        NodeLimits(),
        SessionLimits(),
        ReplicaLimits(),
        SnapshotSettings(),
        Settings(),
        ClerkSettings(),
        ReplyLimits(),
    ],
    ids=lambda limits: type(limits).__name__,
)
def test_the_limits_page_has_every_limit_with_its_default(limits: Any) -> None:
    title = f".{type(limits).__name__}`"
    (section,) = [part for part in document("limits.md").split("\n## ") if title in part[:80]]
    for name in limits.__struct_fields__:
        value = getattr(limits, name)
        if isinstance(value, int) and not isinstance(value, bool):
            assert f"| {shown(name, value)} |" in row_of(name, section), name


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            peer_links,
            [
                "MAX_UNSENT_BYTES",
                "HANDSHAKE_TIMEOUT_S",
                "FIRST_BACKOFF_S",
                "LONGEST_BACKOFF_S",
                "MAX_STRANGERS",
                "MAX_GUESTS",
                "UNACKNOWLEDGED_S",
                "COPY_S",
            ],
        ),
        (complaints, ["COMPLAINT_PERIOD_S", "MAX_COMPLAINTS_PER_PERIOD"]),
        (keepalive, ["KEEPALIVE_IDLE_S", "KEEPALIVE_INTERVAL_S", "KEEPALIVE_PROBES"]),
        (server, ["BACKLOG", "OTHER_FILES"]),
        (
            clients,
            ["DATA_TIME_US", "REPLY_TIME_US", "SLICE_BYTES", "READ_BYTES", "MAX_UNTAKEN_BYTES"],
        ),
        (driver, ["HAND_OVER_AFTER_S", "FAREWELL_S"]),
        (gathering, ["GATHERING_US", "FEW_CLIENTS"]),
        (gateway, ["MAX_JOINED_BYTES"]),
        (log_writer, ["SLOW_SYNC_S", "QUICK_WRITES", "RETRY_PREPARATION_S"]),
        (peer_link, ["DEFAULT_MAX_FRAME_BYTES"]),
        (peer_hello, ["MAX_HELLO_BYTES"]),
        (leader, ["STANDSTILL_TIMEOUTS"]),
        (log, ["MAX_FREED_ENTRIES"]),
        (configuration, ["MAX_REMOVED"]),
        (snapshot_transfer, ["MAX_PATIENCE", "MAX_REMEMBERED_PIECES", "STUCK_AFTER_REPEATS"]),
        (segments, ["DEFAULT_SEGMENT_SIZE"]),
        (snapshot_file, ["SYNC_BYTES"]),
        (frames, ["MAX_CONTENTS"]),
        (state_machine, ["SECTION_BYTES"]),
        (snapshot_worker, ["SECTIONS_AT_A_TIME", "FULL_DISK_PERIOD_S"]),
        (table, ["SECTION_BYTES", "MERGED_PER_CALL", "FREED_PER_STEP"]),
        (sessions, ["FREED_PER_STEP"]),
        (layered_values, ["MERGED_PER_CHANGE"]),
    ],
    ids=lambda parameter: parameter.__name__ if isinstance(parameter, ModuleType) else "",
)
def test_the_limits_page_has_the_limits_of_modules(module: ModuleType, names: list[str]) -> None:
    text = document("limits.md")
    for name in names:
        row = row_of(f"{module.__name__.removeprefix('quorate.')}.{name}", text)
        assert f"| {shown(name, getattr(module, name))} |" in row, name


def test_the_limits_page_has_the_limit_on_values() -> None:
    row = row_of("DEFAULT_MAX_VALUE_BYTES", document("limits.md"))
    assert f"| {shown('_bytes', table.DEFAULT_MAX_VALUE_BYTES)} |" in row


def test_the_tests_that_the_limits_page_names_exist() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", document("limits.md"))
    assert named
    for path, name in named:
        assert f"def {name}(" in (ROOT / "tests" / path).read_text(), f"{path}::{name}"


# --------------------------------------------------------------------- the client protocol


def test_the_protocol_page_has_every_command() -> None:
    text = document("protocol.md")
    for command in COMMANDS:
        assert f"`{command.decode()}" in text, command


def test_the_protocol_page_has_every_error_code_with_its_exception() -> None:
    errors = [UNKNOWN, NOT_EXECUTED, READ_UNAVAILABLE, *map(encode_outcome, Refusal)]
    text = document("protocol.md")
    for error in errors:
        code = error.decode().removeprefix("-").split()[0]
        row = row_of(code, text)
        # What is only waited for never ends a call by itself.
        assert f"`{exception_of(code).__name__}`" in row or code == "WINDOW", code


# --------------------------------------------------------------------- one write, traced


def test_the_bytes_of_the_traced_write_are_exact() -> None:
    command = encode_command(Put(b"k", b"a"))
    batch = encode_batch((Submission(2, 0, 1, (command,), owner=1),))
    entry = Entry(index=3, term=1, time_ms=1200, kind=EntryKind.DATA, data=batch)
    message = AppendEntries(
        id=7, term=1, prev_log_index=2, prev_log_term=1, leader_commit=2, entries=(entry,)
    )
    answer = AppendEntriesAnswer(
        id=7, term=1, success=True, match_index=3, conflict_index=0, conflict_term=0
    )
    text = " ".join(document("architecture.md").split())
    for data in (
        command,
        batch,
        encode_message(message),
        encode_record(WriteRecord(term=1, voted_for=NodeId(1), entries=(entry,))),
        encode_message(answer),
    ):
        assert f"```text {data.hex(' ')} ```" in text


def test_the_functions_of_the_traced_write_exist() -> None:
    places = [
        (path, name)
        for path, names in re.findall(
            r"`([\w/]+\.py)` ((?:`[\w.]+`(?:, )?)+)", document("architecture.md")
        )
        for name in re.findall(r"`([\w.]+)`", names)
    ]
    assert len(places) > 40
    for path, name in places:
        source = (ROOT / "src/quorate" / path).read_text()
        for part in name.split("."):
            assert re.search(rf"\b(def|class) {part}\b", source), f"{path}: {name}"


# --------------------------------------------------------------------- documents


def test_every_page_can_be_reached_from_the_navigation() -> None:
    navigation = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(navigation) == sorted(path.name for path in DOCS.rglob("*.md"))


def markdown_files() -> Iterator[Path]:
    yield from ROOT.glob("*.md")
    yield from DOCS.rglob("*.md")


def test_links_between_documents_lead_somewhere() -> None:
    for path in markdown_files():
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_changelog_tells_of_the_current_version() -> None:
    assert version("quorate") == PROJECT["version"]
    assert f"\n## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


# --------------------------------------------------------------------- what the checkout holds


def tracked_files() -> Iterator[Path]:
    """What belongs to the project, also where there is no git."""
    for folder in (".ci", "benchmarks", "docs", "scripts", "src", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and not {"__pycache__", "quorate.egg-info"} & set(path.parts):
                yield path
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith((".coverage", ".git")):
            yield path


def test_no_file_holds_a_path_of_a_machine_or_the_address_of_a_registry() -> None:
    machine = re.compile(r"(?<![\w.-])/(?:root|home|Users|work|opt)/\w")
    registry = re.compile(
        r"(?:index|find)-(?:url|links)|https?://[^\s)]*(?:pypi|/simple)", re.IGNORECASE
    )
    for path in tracked_files():
        text = path.read_text(errors="replace")
        for pattern in (machine, registry):
            found = pattern.search(text)
            assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"


def test_every_dependency_is_pinned() -> None:
    pins = dict(
        line.split("#")[0].strip().lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    for requirement in wanted:
        assert re.split(r"[<>=!~ ]", requirement)[0] in pins


def test_the_public_names_can_be_imported() -> None:
    package = importlib.import_module("quorate")
    assert {"Clerk", "AsyncClerk"} <= set(package.__all__)
