"""What a tortured server with a planted bug runs; its arguments: `PLANTS:BUG WAYS serve ...`."""

import importlib
import sys

import pytest

from quorate.cli.torture.node import run

if __name__ == "__main__":
    module, _, bug = sys.argv.pop(1).partition(":")
    getattr(importlib.import_module(f"tests.faults.{module}"), bug)(pytest.MonkeyPatch())
    run()
