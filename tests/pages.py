"""Web pages of one file: the data that they hold, and what a real browser makes of them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


def data_of(page: str) -> dict[str, Any]:
    """What the script of the page is given."""
    found = re.search(r"^const page = (.*);$", page, re.MULTILINE)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def browse(page: str, directory: Path) -> str:
    """The document that a browser makes of it, without a network; where there is none, it skips.

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
