"""`python -m quorate.cli`: the command where its script is not installed."""

from quorate.cli.main import main

main()
