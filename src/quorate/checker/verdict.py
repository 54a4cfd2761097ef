"""Whether a history is linearizable: key by key, since a history is if each of its keys is.

(Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects", 1990,
theorem 1: linearizability is a local property.)
"""

from collections.abc import Callable, Iterable

import msgspec

from quorate.checker.history import Operation
from quorate.checker.key_value import KeySpecification
from quorate.checker.model import Model
from quorate.checker.search import Finding, Outcome, Search
from quorate.checker.timeline import in_order_of_return

DEFAULT_MAX_STEPS = 1_000_000


class KeyVerdict(msgspec.Struct, frozen=True):
    """What is known of the operations of one key.

    Attributes:
        key: which.
        outcome: whether they have a linearization.
        operations: all of them, in the order of their calls.
        linearization: those that took effect, in an order that explains what all clients saw. If
            the outcome is not OK: the longest such order that was found, which explains the
            history up to some return.
        blocked: the operation whose return is the next one; None if the outcome is OK. If it is
            ILLEGAL, nothing explains the history up to and with this return.
    """

    key: bytes
    outcome: Outcome
    operations: tuple[Operation, ...]
    linearization: tuple[Operation, ...]
    blocked: Operation | None


class Verdict(msgspec.Struct, frozen=True):
    """What is known of a history.

    Attributes:
        keys: one verdict for each key, in the order of the keys.
    """

    keys: tuple[KeyVerdict, ...]

    @property
    def outcome(self) -> Outcome:
        """ILLEGAL if a key is, else UNKNOWN if a key is, else OK."""
        outcomes = {verdict.outcome for verdict in self.keys}
        for outcome in (Outcome.ILLEGAL, Outcome.UNKNOWN):
            if outcome in outcomes:
                return outcome
        return Outcome.OK

    @property
    def worst(self) -> KeyVerdict | None:
        """Of the keys to which the outcome is due, the one where it happened first; None if OK."""
        if self.outcome is Outcome.OK:
            return None
        return min((verdict for verdict in self.keys if verdict.outcome is self.outcome), key=_when)


def check(
    history: Iterable[Operation],
    *,
    model: Model = KeySpecification,
    max_steps: int | None = DEFAULT_MAX_STEPS,
    is_expired: Callable[[], bool] = lambda: False,
) -> Verdict:
    """Decides whether a history is linearizable.

    Args:
        history: operations, in any order.
        model: what stands behind each key.
        max_steps: of the search for each key: how many configurations it visits before it gives
            up; None for no limit. Good histories take about one for each operation.
        is_expired: is asked now and then whether to give up. A key that has not been decided by
            then is UNKNOWN.
    """
    of_key: dict[bytes, list[Operation]] = {}
    for operation in history:
        of_key.setdefault(operation.key, []).append(operation)
    return Verdict(
        tuple(_check_key(key, of_key[key], model, max_steps, is_expired) for key in sorted(of_key))
    )


def _check_key(
    key: bytes,
    operations: list[Operation],
    model: Model,
    max_steps: int | None,
    is_expired: Callable[[], bool],
) -> KeyVerdict:
    operations.sort(key=lambda operation: operation.called)
    specification = model(operations)

    def search(end: int) -> Finding:
        return Search(
            operations, specification, end=end, max_steps=max_steps, is_expired=is_expired
        ).run()

    returns = in_order_of_return(operations)
    impossible = (k for k, number in enumerate(returns) if number in specification.impossible)
    end = next(impossible, len(returns))
    finding = search(end)
    if finding.outcome is Outcome.ILLEGAL:
        finding = _longest_explained(finding, end, search)
    elif end < len(returns):
        finding = msgspec.structs.replace(finding, outcome=Outcome.ILLEGAL, returns=end)
    return KeyVerdict(
        key,
        finding.outcome,
        tuple(operations),
        tuple(operations[number] for number in finding.linearization),
        None if finding.outcome is Outcome.OK else operations[returns[finding.returns]],
    )


def _longest_explained(found: Finding, illegal: int, search: Callable[[int], Finding]) -> Finding:
    """How far a history that has no linearization can be explained.

    A search ends early where it sees that a read of later on can't be explained any more. So how
    far it came is only where to begin: beginnings of the history are searched, in steps that double
    at first and are halved then.

    Args:
        found: by the search through all of it.
        illegal: how many returns the shortest beginning has that is known to have no linearization.
        search: through the first so many returns.

    Returns:
        What explains the longest beginning that can be explained; if some search gave up, then as
        much of it as that has explained. The outcome is ILLEGAL.
    """
    explained, stride = found.returns, 1
    while illegal - explained > 1:
        middle = min(explained + stride, (explained + illegal) // 2)
        attempt = search(middle)
        if attempt.outcome is Outcome.ILLEGAL:
            illegal = middle
        else:
            found, explained, stride = attempt, middle, 2 * stride
    return msgspec.structs.replace(found, outcome=Outcome.ILLEGAL, returns=explained)


def _when(verdict: KeyVerdict) -> float:
    assert verdict.blocked is not None
    assert verdict.blocked.returned is not None
    return verdict.blocked.returned
