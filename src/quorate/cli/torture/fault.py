"""What a fault is: something that is done to a cluster, and taken back."""

from collections.abc import Awaitable, Callable, Sequence

from quorate.raft.configuration import NodeId

Tell = Callable[[str], None]
"""Is told in words what is done."""
Fault = Callable[[float, Tell], Awaitable[None]]
"""Strikes for about so many seconds, says what it does, and returns when all is well again.

Raises:
    NotBackError: all is not well again.
"""


def named(nodes: Sequence[NodeId]) -> str:
    """Some nodes, in words."""
    *first, last = sorted(nodes)
    if not first:
        return f"node {last}"
    return f"nodes {', '.join(map(str, first))} and {last}"
