"""The commands of the client protocol: what each is called, takes and asks for.

Understanding a command changes nothing: it returns a `Request`, or raises a `CommandError` with
the very words that Redis uses, because clients match on them. What concerns the connection itself
(HELLO, CLIENT, ...) is in `connection_commands`.
"""

from collections.abc import Callable
from functools import partial

import msgspec

from quorate.codec.batch import OpenSession, Submission
from quorate.kv.commands import Append, Delete, Put, PutMany, encode_command
from quorate.kv.queries import Count, Exists, Get, GetMany, Length, QueryResult
from quorate.node.limits import NodeLimits
from quorate.node.requests import Call, CommandError, Read, Request, Write, printable
from quorate.wire.resp_reply import ErrorReply, Reply

Arguments = list[bytes]


class CommandSpec(msgspec.Struct, frozen=True):
    """One command, as `COMMAND` describes it.

    Attributes:
        name: in lower case.
        arity: how many arguments it takes, its name included; negative: at least that many.
        flags: as Redis names them.
        first_key: the position of its first key; 0 if it has none.
        last_key: the position of the last; negative counts from the end.
        step: from one key to the next.
        summary: one sentence for `COMMAND DOCS`.
        understand: what a call with these arguments asks for; None for the commands that
            concern the connection or the node itself.
    """

    name: str
    arity: int
    flags: tuple[str, ...]
    first_key: int
    last_key: int
    step: int
    summary: str
    understand: Callable[[Arguments, NodeLimits], Request] | None = None

    def check_arity(self, arguments: Arguments) -> None:
        """Refuses a wrong number of arguments."""
        given = len(arguments)
        if given != self.arity if self.arity > 0 else given < -self.arity:
            raise CommandError(f"wrong number of arguments for '{self.name}' command")


def _key(key: bytes, limits: NodeLimits) -> bytes:
    if len(key) > limits.max_key_bytes:
        raise CommandError(f"key exceeds maximum allowed size ({limits.max_key_bytes} bytes)")
    return key


def _value(value: bytes, limits: NodeLimits) -> bytes:
    if len(value) > limits.max_value_bytes:
        raise CommandError(f"string exceeds maximum allowed size ({limits.max_value_bytes} bytes)")
    return value


def _keys(arguments: Arguments, limits: NodeLimits) -> tuple[bytes, ...]:
    return tuple([_key(key, limits) for key in arguments[1:]])


def _as_is(result: QueryResult) -> Reply:
    return result


def _as_list(max_bytes: int, result: QueryResult) -> Reply:
    if result is None:
        return ErrorReply("ERR", f"reply exceeds maximum allowed size ({max_bytes} bytes)")
    assert isinstance(result, tuple)
    return result


def _set(arguments: Arguments, limits: NodeLimits) -> Write:
    if len(arguments) > 3:
        # SET has options in Redis. None is supported here, and none is silently ignored.
        raise CommandError("syntax error")
    _, key, value = arguments
    return Write(encode_command(Put(_key(key, limits), _value(value, limits))))


def _append(arguments: Arguments, limits: NodeLimits) -> Write:
    _, key, value = arguments
    return Write(encode_command(Append(_key(key, limits), _value(value, limits))))


def _del(arguments: Arguments, limits: NodeLimits) -> Write:
    return Write(encode_command(Delete(_keys(arguments, limits))))


def _mset(arguments: Arguments, limits: NodeLimits) -> Write:
    if len(arguments) % 2 == 0:
        raise CommandError("wrong number of arguments for 'mset' command")
    keys = [_key(key, limits) for key in arguments[1::2]]
    values = [_value(value, limits) for value in arguments[2::2]]
    return Write(encode_command(PutMany(tuple(zip(keys, values, strict=True)))))


def _get(arguments: Arguments, limits: NodeLimits) -> Read:
    return Read(Get(_key(arguments[1], limits)), _as_is)


def _mget(arguments: Arguments, limits: NodeLimits) -> Read:
    keys, max_bytes = _keys(arguments, limits), limits.max_reply_bytes
    return Read(GetMany(keys, max_bytes), partial(_as_list, max_bytes))


def _exists(arguments: Arguments, limits: NodeLimits) -> Read:
    return Read(Exists(_keys(arguments, limits)), _as_is)


def _strlen(arguments: Arguments, limits: NodeLimits) -> Read:
    return Read(Length(_key(arguments[1], limits)), _as_is)


def _dbsize(_arguments: Arguments, _limits: NodeLimits) -> Read:
    return Read(Count(), _as_is)


def _session(_arguments: Arguments, _limits: NodeLimits) -> Call:
    return Call(OpenSession())


_WRITES = {"append": _append, "del": _del, "mset": _mset, "set": _set}
"""What `ONCE` takes."""

_MAX_NUMBER = 2**63 - 1


def _number(argument: bytes, what: str, *, least: int) -> int:
    text = argument[:20]
    if not text.isdigit() or not least <= int(text) <= _MAX_NUMBER or len(argument) > 19:
        raise CommandError(f"{what} is not a whole number from {least} to {_MAX_NUMBER}")
    return int(text)


def _once(arguments: Arguments, limits: NodeLimits) -> Call:
    session = _number(arguments[1], "session", least=1)
    seq = _number(arguments[2], "seq", least=1)
    acked = _number(arguments[3], "acked", least=0)
    command = arguments[4:]
    write = _WRITES.get(find_command(command).name)
    if write is None:
        raise CommandError(f"ONCE takes a write command; '{printable(command[0])}' is none")
    return Call(Submission(session, acked, seq, (write(command, limits).command,)))


def _spec(
    name: str,
    arity: int,
    flags: str,
    keys: tuple[int, int, int],
    summary: str,
    understand: Callable[[Arguments, NodeLimits], Request] | None = None,
) -> tuple[bytes, CommandSpec]:
    spec = CommandSpec(name, arity, tuple(flags.split()), *keys, summary, understand)
    return name.upper().encode(), spec


_NO_KEYS = (0, 0, 0)

COMMANDS: dict[bytes, CommandSpec] = dict(
    [
        _spec("append", 3, "write denyoom", (1, 1, 1), "Appends to a value.", _append),
        _spec("auth", -2, "noscript fast", _NO_KEYS, "Checks a password, of which there is none."),
        _spec("client", -2, "admin noscript", _NO_KEYS, "Settings of this connection."),
        _spec("command", -1, "loading stale", _NO_KEYS, "Describes the commands."),
        _spec("config", -2, "admin noscript", _NO_KEYS, "Reads settings that clients ask for."),
        _spec("dbsize", 1, "readonly fast", _NO_KEYS, "The number of keys.", _dbsize),
        _spec("del", -2, "write", (1, -1, 1), "Removes keys.", _del),
        _spec("echo", 2, "fast", _NO_KEYS, "Answers its argument."),
        _spec("exists", -2, "readonly fast", (1, -1, 1), "Counts existing keys.", _exists),
        _spec("get", 2, "readonly fast", (1, 1, 1), "The value of a key.", _get),
        _spec("hello", -1, "noscript fast", _NO_KEYS, "Chooses the protocol's version."),
        _spec("info", -1, "loading stale", _NO_KEYS, "Information on this node."),
        _spec("mget", -2, "readonly fast", (1, -1, 1), "The values of keys.", _mget),
        _spec("mset", -3, "write denyoom", (1, -1, 2), "Sets several keys at once.", _mset),
        _spec("once", -5, "write", _NO_KEYS, "Executes a write of a session at most once.", _once),
        _spec("ping", -1, "fast", _NO_KEYS, "Answers PONG, or its argument."),
        _spec("quit", -1, "fast noscript", _NO_KEYS, "Ends the connection."),
        _spec(
            "quorate.leader", 1, "loading stale", _NO_KEYS, "The leader's client address, if known."
        ),
        _spec("quorate.member", -2, "admin noscript", _NO_KEYS, "Changes the cluster's members."),
        _spec(
            "quorate.servers",
            1,
            "loading stale",
            _NO_KEYS,
            "The members' client addresses, as of an index of the log.",
        ),
        _spec("quorate.session", 1, "write", _NO_KEYS, "Opens a session.", _session),
        _spec("quorate.snapshot", 1, "admin noscript", _NO_KEYS, "Lets this node take a snapshot."),
        _spec("quorate.status", 1, "loading stale", _NO_KEYS, "The state of this node as JSON."),
        _spec("select", 2, "fast", _NO_KEYS, "There is one database: 0."),
        _spec("set", -3, "write denyoom", (1, 1, 1), "Sets the value of a key.", _set),
        _spec("strlen", 2, "readonly fast", (1, 1, 1), "The length of a value.", _strlen),
    ]
)


def find_command(arguments: Arguments) -> CommandSpec:
    """The command that a request names, with a fitting number of arguments.

    Raises:
        CommandError: there is none, or the number does not fit.
    """
    spec = COMMANDS.get(arguments[0]) or COMMANDS.get(arguments[0].upper())
    if spec is None:
        raise CommandError(
            f"unknown command '{printable(arguments[0])}', "
            f"with args beginning with: {_beginning(arguments[1:])}"
        )
    spec.check_arity(arguments)
    return spec


def _beginning(arguments: Arguments) -> str:
    shown = ""
    for argument in arguments:
        if len(shown) >= 128:
            break
        shown += f"'{printable(argument, 128 - len(shown))}' "
    return shown
