"""Looks for inputs that do harm, guided by coverage: `python -m tests.fuzz [--help]`.

By default every target in turn has a minute. Each runs in a process of its own, because a fuzzer
ends with the first thing that it finds; that is printed as a line for `FOUND` in `test_targets.py`.
What has led to new code is kept in build/fuzz/TARGET, and the next run begins with it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

CORPUS = Path("build/fuzz")
RUNS_AS_CHILD = "QUORATE_FUZZ_TARGET"
MEMORY_MIB = 1024
HANG_S = 10
LONGEST_INPUT = 4096
WATCHED = {"peer": ["quorate.raft"], "forwarded": ["quorate.replica", "quorate.kv"]}
"""What is watched of `quorate`, if not all of it: to watch all of three nodes is slow."""
_SUMMARY = re.compile(r"#(\d+)\s+DONE\s+cov: (\d+) ")


def fuzz(name: str) -> None:
    """Runs one target in this process, for as long as the arguments of libFuzzer say."""
    import atheris  # noqa: PLC0415 - only here, in an environment that has it

    # What is imported in here is watched; the interpreter must not have it already.
    with atheris.instrument_imports(include=WATCHED.get(name, ["quorate"])):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    target = TARGETS[name]
    for number, seed in enumerate(target.seeds):
        (CORPUS / name / f"seed-{number}").write_bytes(seed)

    def run(data: bytes) -> None:
        target.run(bytes(data))

    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


def report(name: str, seconds: int) -> bool:
    """Runs one target in a process of its own and says what came of it; whether it is well."""
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    crash = CORPUS / f"{name}.crash"
    crash.unlink(missing_ok=True)
    before = len(list(corpus.iterdir()))
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz", str(corpus), f"-max_total_time={seconds}"),
            *(f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MIB}", f"-max_len={LONGEST_INPUT}"),
            *(f"-exact_artifact_path={crash}", "-print_final_stats=0"),
        ],
        env={**os.environ, RUNS_AS_CHILD: name},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    done = _SUMMARY.search(ended.stderr)
    if done is not None:
        new = len(list(corpus.iterdir())) - before
        print(f"{name}: {int(done[1]):,} inputs, coverage {done[2]}, {new} that led to new code")
    if ended.returncode == 0 and done is not None:
        return True
    print(f"{name}: FAILED", *ended.stderr.splitlines()[-40:], sep="\n")
    if crash.exists():
        print(f"    ({name!r}, {crash.read_bytes()!r}),")
    return False


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("-s", "--seconds", type=int, default=60, help="for each target")
    parser.add_argument("targets", nargs="*", help="all by default")
    arguments = parser.parse_args()
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - not in the process that is watched

    unknown = set(arguments.targets) - TARGETS.keys()
    if unknown:
        parser.error(
            f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}"
        )
    results = [report(name, arguments.seconds) for name in arguments.targets or TARGETS]
    sys.exit(not all(results))


if __name__ == "__main__":
    if RUNS_AS_CHILD in os.environ:
        fuzz(os.environ[RUNS_AS_CHILD])
    else:
        main()
