"""stub"""

from quorate.cli.torture.torture import Findings


def render(findings: Findings) -> str:
    return ""
