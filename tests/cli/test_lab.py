"""`quorate lab`: what it prints, how it judges, and how it goes on after an interruption."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TextIO

import pytest
from click.testing import CliRunner, Result

from quorate.checker import Kind, Operation
from quorate.cli.lab.command import lab
from quorate.cli.lab.job import Job
from quorate.cli.lab.pool import run_one_after_another
from quorate.cli.lab.record import Record
from quorate.cli.lab.report import print_failure, print_summary, print_verdict
from quorate.lab.edition import Edition
from quorate.lab.judgement import Judgement
from quorate.lab.kv_history import History
from quorate.lab.runner import ClockKind, Outcome, Run
from quorate.lab.suite import SCENARIOS, VARIANTS

Lab = Callable[..., Result]

BACKUP = Job(
    name="TestBackup2B",
    variant="production",
    seed=17,
    clock=ClockKind.VIRTUAL,
    edition=Edition.Y2018,
)


@pytest.fixture
def run_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(lab, [str(each) for each in arguments])


def outcome(failure: str | None = None) -> Outcome:
    return Outcome(
        name=BACKUP.name,
        variant=BACKUP.variant,
        seed=BACKUP.seed,
        lines=[],
        results=[],
        failure=failure,
        details="",
        duration_us=12_340_000,
        trace=0,
    )


def test_one_test_prints_its_two_lines_and_the_verdict(run_lab: Lab) -> None:
    ended = run_lab("BasicAgree", "--variant", "production")
    assert ended.exit_code == 0, ended.output
    lines = ended.output.splitlines()
    assert lines[:2] == ["--- Raft with PreVote and CheckQuorum", "Test (2B): basic agreement ..."]
    assert lines[2].startswith("  ... Passed --   0.")
    assert lines[3] == "PASS"
    assert lines[4].startswith("ok  quorate/lab  ")


def test_several_tests_run_on_all_cores_and_print_in_order(run_lab: Lab) -> None:
    ended = run_lab("2A", "BasicAgree")
    assert ended.exit_code == 0, ended.output
    titles = [line for line in ended.output.splitlines() if line.startswith("Test")]
    expected = [
        "Test (2A): initial election ...",
        "Test (2A): election after network failure ...",
        "Test (2A): multiple elections ...",
        "Test (2B): basic agreement ...",
    ]
    assert titles == 3 * expected


def test_an_unknown_test_is_a_usage_error(run_lab: Lab) -> None:
    ended = run_lab("9Z")
    assert ended.exit_code == 2
    assert "no test of the lab fits '9Z'" in ended.output


def test_many_seeds_end_with_a_summary_and_leave_nothing_behind(
    run_lab: Lab, tmp_path: Path
) -> None:
    ended = run_lab("BasicAgree", "--count", 3)
    assert ended.exit_code == 0, ended.output
    rows = [line.split() for line in ended.output.splitlines() if line.startswith("TestBasic")]
    assert [row[:4] for row in rows] == [
        ["TestBasicAgree2B", "figure2", "3", "0"],
        ["TestBasicAgree2B", "production", "3", "0"],
        ["TestBasicAgree2B", "compacted", "3", "0"],
    ]
    assert list(tmp_path.iterdir()) == []


def test_what_a_record_holds_is_not_run_again(run_lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "record"
    with Record(path) as record:
        record.add(BACKUP, outcome("planted: nobody else would say this"))
    ended = run_lab(
        "Backup", "--variant", "production", "--seed", 16, "--count", 2, "--record", path
    )
    assert ended.exit_code == 1
    assert "planted" in ended.output
    with Record(path) as record:
        assert {job.seed for job in record.done} == {16, 17}
        assert record.done[BACKUP].failure is not None


def test_no_process_is_left_of_a_run_that_was_killed(tmp_path: Path) -> None:
    # Those on all cores used to wait for jobs for ever, with nobody to give them any.
    path = tmp_path / "record"
    command = [sys.executable, "-m", "quorate.cli", "lab", "Figure8", "--count", "200"]
    with subprocess.Popen([*command, "--record", path], stdout=subprocess.PIPE) as running:
        while not (path.exists() and path.stat().st_size):
            assert running.poll() is None
            time.sleep(0.05)
        running.kill()
        # They have its output open too, so this comes to its end when the last of them has gone.
        output, _ = running.communicate(timeout=20)
    assert b"PASS" not in output


def test_a_line_that_an_interruption_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "record"
    with Record(path) as record:
        record.add(BACKUP, outcome())
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    with Record(path) as record:
        assert list(record.done) == [BACKUP]
    assert path.read_bytes() == whole


def test_an_outcome_of_other_code_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "record"
    with Record(path) as record:
        record.add(BACKUP, outcome())
    line = path.read_bytes()
    path.write_bytes(line.replace(line[9:17], b"00000000"))
    with Record(path) as record:
        assert record.done == {}


def test_a_file_that_is_no_record_is_refused_and_kept(run_lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("my notes\n")
    ended = run_lab("BasicAgree", "--record", path)
    assert ended.exit_code != 0
    assert "is no record of `quorate lab`" in str(ended.exception)
    assert path.read_text() == "my notes\n"


def test_a_failure_says_what_failed_and_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_failure(BACKUP, outcome("expected one leader, got none"))
    assert capsys.readouterr().out.splitlines() == [
        "--- FAIL: TestBackup2B (12.34s)",
        "    expected one leader, got none",
        "    seed 17; run it again with: quorate lab TestBackup2B --variant production --seed 17",
    ]


def test_the_summary_and_the_verdict_count_failures(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [(BACKUP, outcome("no")), (BACKUP, outcome())]
    print_summary(outcomes)
    print_verdict(outcomes, 1.5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:4] == ["TestBackup2B", "production", "2", "1"]
    assert lines[-2:] == ["FAIL", "FAIL  quorate/lab  1.500s (24.7 s of virtual time)"]


# --------------------------------------------------------------------- histories


def misreport_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read is recorded as if it had given what nobody ever wrote; the test itself passes."""
    returned = History.returned

    def record(
        history: History,
        kind: Kind,
        key: str,
        argument: str | None,
        result: str | None,
        **when: int,
    ) -> None:
        result = "what nobody wrote" if kind is Kind.GET else result
        returned(history, kind, key, argument, result, **when)

    monkeypatch.setattr(History, "returned", record)


@pytest.mark.parametrize("clock", list(ClockKind))
def test_a_history_that_is_not_linearizable_fails_a_run_that_has_passed_so_far(
    run_lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: ClockKind
) -> None:
    misreport_gets(monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ended = run_lab("UnreliableOneKey", "--variant", "clerk", "--seed", 5, "--clock", clock)
    assert ended.exit_code == 1
    lines = ended.output.splitlines()
    assert lines[1] == "Test: concurrent append to same key, unreliable (3A) ..."
    assert lines[2].startswith("  ... Passed --")
    assert re.fullmatch(r"--- FAIL: TestUnreliableOneKey3A \(\d+\.\d\ds\)", lines[3])
    assert lines[4] == "    history is not linearizable"
    assert lines[5].startswith(
        '    key "k": Nothing explains client 0\'s get → "what nobody wrote"'
    )
    assert lines[-4].startswith("    info: wrote history visualization to ")
    (page,) = tmp_path.iterdir()
    assert lines[-4].endswith(str(page))
    assert "what nobody wrote" in page.read_text("utf-8")
    replay = "quorate lab TestUnreliableOneKey3A --variant clerk --seed 5"
    option = " --clock real" if clock is ClockKind.REAL else ""
    assert lines[-3] == f"    seed 5; run it again with: {replay}{option}"
    assert lines[-2] == "FAIL"


def test_verdicts_on_histories_come_before_the_final_pass(run_lab: Lab) -> None:
    ended = run_lab("UnreliableOneKey", "--variant", "clerk", "--clock", "real")
    assert ended.exit_code == 0, ended.output
    lines = ended.output.splitlines()
    assert lines[-3] == "linearizable: the histories of 1 run, 52 operations"
    assert lines[-2] == "PASS"


FIRST, SECOND = (
    Job(name=name, variant="clerk", seed=1, clock=ClockKind.REAL, edition=Edition.Y2018)
    for name in ("First", "Second")
)


def meet_the_next_test(pipe: Path, _histories: list[bytes]) -> Judgement:
    with pipe.open() as other_end:  # which waits until somebody opens the other end
        other_end.read()
    return Judgement(operations=0, failure=f"judged by process {os.getpid()}", details="")


def test_in_real_time_the_next_test_runs_while_another_process_judges(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def play(job: Job) -> Run:
        if job == FIRST:
            put = Operation(client="1", kind=Kind.PUT, key=b"k", argument=b"", called=1)
            return Run(outcome=outcome(), histories=[[put]])
        with pipe.open("w"):  # which waits for the judge of the first
            return Run(outcome=outcome("failed by itself"), histories=[])

    judge = partial(meet_the_next_test, pipe)
    found = dict(run_one_after_another([FIRST, SECOND], play, judge))
    assert found[SECOND].failure == "failed by itself"
    judged = re.fullmatch(r"judged by process (\d+)", str(found[FIRST].failure))
    assert judged is not None
    assert int(judged[1]) != os.getpid()


def test_an_interruption_does_not_wait_for_what_another_process_does(tmp_path: Path) -> None:
    # It waited a minute for long tests, and then their outcomes were lost all the same.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    opened: list[TextIO] = []

    def let_the_judge_end() -> None:
        opened[0].close()

    patience = threading.Timer(20, let_the_judge_end)

    def play(job: Job) -> Run:
        if job == FIRST:
            return Run(outcome=outcome(), histories=[[]])
        opened.append(pipe.open("w"))  # when the judge of the first is at work
        patience.start()
        raise KeyboardInterrupt

    judge = partial(meet_the_next_test, pipe)
    with pytest.raises(KeyboardInterrupt):
        list(run_one_after_another([FIRST, SECOND], play, judge))
    assert patience.is_alive()
    patience.cancel()
    let_the_judge_end()


def test_every_variant_has_a_heading() -> None:
    assert {scenario.variant for scenario in SCENARIOS} == set(VARIANTS)
