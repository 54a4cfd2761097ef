"""The judgement on a tortured cluster: what its clients were told against what is there.

Each key's history, with a last read of its final value behind it, has to be linearizable. That says
all there is to say; what can be seen without any search is counted first, from the final values of
the keys that were only appended to, since such counts say what is wrong: each element is unique.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import msgspec

from quorate.checker import KeyVerdict, Kind, Operation, Outcome, check
from quorate.cli.torture.ledger import KeyHistory
from quorate.lab.judgement import explained

_LAST_READER = "the last reader"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Elements by what is wrong with them; several keys' accounts can be added.

    Attributes:
        lost: acknowledged, but not there.
        doubled: there oftener than they were sent, or were left unanswered.
        not_executed: there, though every sending was said not to be executed.
        unasked: there, though nobody ever sent them.
    """

    lost: tuple[bytes, ...] = ()
    doubled: tuple[bytes, ...] = ()
    not_executed: tuple[bytes, ...] = ()
    unasked: tuple[bytes, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(msgspec.structs.astuple(self))

    @classmethod
    def total(cls, accounts: Iterable[Self]) -> Self:
        """All of them together."""
        rows = [msgspec.structs.astuple(account) for account in accounts]
        columns = [sum(column, ()) for column in zip(*rows, strict=True)]
        return cls(**dict(zip(cls.__struct_fields__, columns, strict=True)))


def account(
    operations: Iterable[Operation], refused: Iterable[bytes], value: bytes | None
) -> Account:
    """Compares the appends to one key, which was only appended to, with its final value."""
    there = Counter(part + b";" for part in (value or b"").split(b";")[:-1])
    acknowledged: set[bytes] = set()
    possible: Counter[bytes] = Counter()
    for operation in operations:
        if operation.kind is Kind.APPEND:
            assert operation.argument is not None
            possible[operation.argument] += 1
            if operation.returned is not None:
                acknowledged.add(operation.argument)
    refused = set(refused)
    impossible = there.keys() - possible.keys()
    return Account(
        lost=tuple(sorted(acknowledged - there.keys())),
        doubled=tuple(sorted(e for e, n in there.items() if n > max(1, possible[e]))),
        not_executed=tuple(sorted(impossible & refused)),
        unasked=tuple(sorted(impossible - refused)),
    )


class FinalRead(msgspec.Struct, frozen=True):
    """What one node answered in the end. Times are microseconds.

    Attributes:
        values: of all keys; None for one that is not there.
        called: when it was asked.
        returned: when it had answered.
    """

    values: Mapping[bytes, bytes | None]
    called: int
    returned: int


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """On all that the clients have seen.

    Attributes:
        keys: how many were judged.
        operations: how many there were.
        account: what is wrong with the elements of all keys that were only appended to.
        differing: keys of which two nodes have told different final values.
        illegal: keys that are not linearizable, each with where it broke, as lines.
        undecided: keys for which the search gave up.
        worst: the verdict on the first that is not linearizable.
    """

    keys: int
    operations: int
    account: Account
    differing: tuple[bytes, ...]
    illegal: tuple[str, ...]
    undecided: tuple[bytes, ...]
    worst: KeyVerdict | None

    @property
    def is_clean(self) -> bool:
        """Whether all that was promised holds."""
        is_linearizable = not self.illegal and not self.undecided
        return self.account.is_clean and not self.differing and is_linearizable


def judge(histories: Sequence[KeyHistory], reads: Sequence[FinalRead]) -> Judgement:
    """Judges all keys.

    Args:
        histories: of the keys.
        reads: what each node answered in the end.
    """
    operations, accounts, verdicts = 0, [Account()], []
    for history in histories:
        own = history.operations
        operations += len(own)
        if not history.is_register:
            accounts += (account(own, history.refused, r.values[history.key]) for r in reads[:1])
        verdict = check([*own, *(_last_read(history.key, read) for read in reads)])
        if verdict.worst is not None:
            verdicts.append(verdict.worst)
    illegal = [verdict for verdict in verdicts if verdict.outcome is Outcome.ILLEGAL]
    return Judgement(
        keys=len(histories),
        operations=operations,
        account=Account.total(accounts),
        differing=tuple(
            history.key
            for history in histories
            if len({read.values[history.key] for read in reads}) > 1
        ),
        illegal=tuple(map(explained, illegal)),
        undecided=tuple(v.key for v in verdicts if v.outcome is Outcome.UNKNOWN),
        worst=illegal[0] if illegal else None,
    )


def _last_read(key: bytes, read: FinalRead) -> Operation:
    return Operation(
        client=_LAST_READER,
        kind=Kind.GET,
        key=key,
        result=read.values[key],
        called=read.called,
        returned=read.returned,
    )
