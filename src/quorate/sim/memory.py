"""Whether a server holds on to what nobody needs any more.

When a world has healed and nobody calls, a node needs its state, its log, its sessions and what it
knows of the others. Everything else that it still holds would be a leak: replies, waiters, tickets.
So what can be reached from it is counted, and has to be little besides these.
"""

import gc
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

from quorate.node.node import Node
from quorate.raft.configuration import NodeId
from quorate.sim.errors import InvariantError

_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, CodeType)
"""What is not a node's own; a method would lead to the simulator."""


_OBJECTS = 800
"""A node without entries and sessions holds a third of that, or half."""
_OBJECTS_PER_ENTRY = 2
_OBJECTS_PER_SESSION = 16
"""With the replies that its window leaves; a Clerk at rest has one or two."""
_OBJECTS_PER_MEMBER = 4
"""Of an entry that changes the members: it names them all."""
_OBJECTS_PER_KEY = 3


def check_memory(node: NodeId, held: Node, *, keys: int) -> None:
    """Checks that an idle node holds little but its log, its state and its sessions.

    Args:
        node: its id.
        held: itself.
        keys: how many there are in its table, at most.

    Raises:
        InvariantError: it holds more.
    """
    raft, sessions = held.raft, held.state.sessions
    entries = [raft.entry_at(at) for at in range(raft.log_start.index + 1, raft.last_index + 1)]
    changes = [entry.configuration for entry in entries if entry.configuration is not None]
    named = sum(len(change.members) + len(change.removed) for change in changes)
    allowed = (
        _OBJECTS
        + _OBJECTS_PER_ENTRY * len(entries)
        + _OBJECTS_PER_MEMBER * named
        + _OBJECTS_PER_SESSION * sessions
        + _OBJECTS_PER_KEY * keys
    )
    objects = held_objects(held)
    if objects > allowed:
        raise InvariantError(
            f"node {node} is idle, has {len(entries)} entries in its log and {sessions} sessions, "
            f"and holds {objects} objects, not {allowed} at most"
        )


def held_objects(node: Node) -> int:
    """How many objects can be reached from a node, apart from code."""
    seen: set[int] = set()
    left: list[object] = [node]
    while left:
        held = left.pop()
        if id(held) in seen or isinstance(held, _SHARED):
            continue
        seen.add(id(held))
        left.extend(gc.get_referents(held))
    return len(seen)
