"""What a real browser makes of a page, without a network."""

import shutil
import subprocess
from pathlib import Path

import pytest


def browse(page: str, directory: Path) -> str:
    """The document that a browser makes of it; the test is skipped where there is none.

    Args:
        page: as HTML.
        directory: where files may be put.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("there is no chromium")
    path = directory / "page.html"
    path.write_text(page, "utf-8")
    ended = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={directory / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert b"CONSOLE" not in ended.stderr, ended.stderr
    return ended.stdout.decode()
