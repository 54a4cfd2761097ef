"""The commands about a connection or about this node itself; they need neither log nor leader."""

import functools
import re
from collections.abc import Callable

import msgspec

from quorate.node.commands import COMMANDS, Arguments, CommandSpec
from quorate.node.connection import Connection
from quorate.node.glob import glob_matches
from quorate.node.requests import CommandError, Immediate, printable
from quorate.node.status import NodeStatus, SnapshotProgress
from quorate.wire.resp_reply import (
    Reply,
    RespVersion,
    SimpleString,
    encode_array,
    encode_integer,
    encode_null,
    encode_reply,
)

_OK = SimpleString("OK")
_MAX_NAME_BYTES = 1024  # of a connection's name, which is kept as long as the connection

# What Redis takes for an integer: no blanks, no plus, no leading zeros.
_integer = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch

# What redis-benchmark asks for, answered as a Redis would that writes like a Quorate.
_CONFIG = {"save": "", "appendonly": "yes", "appendfsync": "always"}


class NodeView(msgspec.Struct, frozen=True):
    """What these commands can say about the node.

    Attributes:
        status: of the node.
        leader_address: the leader's client address, if known.
        servers: the members' client addresses, voters first, behind the index of the entry of the
            log that says so.
        keys: how many keys this node's own copy holds.
    """

    status: NodeStatus
    leader_address: str | None
    servers: tuple[int | str, ...]
    keys: int


def answer_locally(
    spec: CommandSpec, arguments: Arguments, connection: Connection, view: Callable[[], NodeView]
) -> Immediate:
    """Executes a command about the connection or the node.

    Args:
        spec: the command.
        arguments: its name and arguments.
        connection: where it came from.
        view: gives what can be said about the node, if it is asked for.

    Raises:
        CommandError: with the words that Redis uses.
    """
    match spec.name:
        case "command":
            return Immediate(_command(arguments, connection.protocol))
        case "quorate.snapshot":
            return _snapshot(view().status, connection.protocol)
    reply = _reply(spec, arguments, connection, view)
    return Immediate(encode_reply(reply, connection.protocol), closes=spec.name == "quit")


def _reply(
    spec: CommandSpec, arguments: Arguments, connection: Connection, view: Callable[[], NodeView]
) -> Reply:
    match spec.name:
        case "ping":
            return _ping(arguments)
        case "echo":
            return arguments[1]
        case "auth":
            return _auth(arguments)
        case "quit":
            return _OK
        case "select":
            return _select(arguments)
        case "hello":
            return _hello(arguments, connection, view())
        case "client":
            return _client(arguments, connection)
        case "config":
            return _config(arguments)
        case _:
            return _about_the_node(spec, view())


def _about_the_node(spec: CommandSpec, view: NodeView) -> Reply:
    match spec.name:
        case "info":
            return _info(view)
        case "quorate.leader":
            return view.leader_address
        case "quorate.servers":
            return view.servers
        case "quorate.status":
            return msgspec.json.encode(view.status)
        case _:
            raise AssertionError(f"{spec.name} has no implementation")


def _ping(arguments: Arguments) -> Reply:
    match arguments:
        case [_]:
            return SimpleString("PONG")
        case [_, message]:
            return message
        case _:
            raise CommandError("wrong number of arguments for 'ping' command")


def _select(arguments: Arguments) -> Reply:
    if not _integer(arguments[1]):
        raise CommandError("value is not an integer or out of range")
    if arguments[1] != b"0":
        raise CommandError("DB index is out of range")
    return _OK


def _auth(arguments: Arguments) -> Reply:
    match arguments:
        case [_, _]:
            raise CommandError(
                "AUTH <password> called without any password configured for the default user. "
                "Are you sure your configuration is correct?"
            )
        case [_, user, _]:
            _check_user(user)
            return _OK
        case _:
            raise CommandError("syntax error")


def _check_user(user: bytes) -> None:
    """There is one user, as in a Redis without passwords, and any password will do for it."""
    if user != b"default":
        raise CommandError("invalid username-password pair or user is disabled.", code="WRONGPASS")


def _hello(arguments: Arguments, connection: Connection, view: NodeView) -> Reply:
    protocol: RespVersion = connection.protocol
    name: bytes | None = None
    match arguments[1:]:
        case []:
            pass
        case [version, *options]:
            protocol = _protocol_version(version)
            name, user = _hello_options(options)
            if user is not None:
                _check_user(user)
    connection.protocol = protocol
    if name is not None:
        connection.name = name
    return {
        "server": "quorate",
        "version": view.status.version,
        "proto": protocol,
        "id": connection.id,
        "mode": "standalone",
        "role": "master",
        "modules": [],
    }


def _protocol_version(version: bytes) -> RespVersion:
    match version:
        case b"2":
            return 2
        case b"3":
            return 3
        case _ if _integer(version):
            raise CommandError("unsupported protocol version", code="NOPROTO")
        case _:
            raise CommandError("Protocol version is not an integer or out of range")


def _hello_options(options: Arguments) -> tuple[bytes | None, bytes | None]:
    """The connection's name and the user, as far as they are given."""
    name: bytes | None = None
    user: bytes | None = None
    position = 0
    while position < len(options):
        option = options[position]
        given = len(options) - position - 1
        match option.upper():
            case b"SETNAME" if given >= 1:
                name = _connection_name(options[position + 1])
                position += 2
            case b"AUTH" if given >= 2:
                user = options[position + 1]
                position += 3
            case _:
                raise CommandError(f"Syntax error in HELLO option '{printable(option)}'")
    return name, user


def _connection_name(name: bytes) -> bytes:
    if len(name) > _MAX_NAME_BYTES:
        raise CommandError(f"Client names cannot be longer than {_MAX_NAME_BYTES} bytes.")
    if any(not 0x21 <= byte <= 0x7E for byte in name):
        raise CommandError("Client names cannot contain spaces, newlines or special characters.")
    return name


def _client(arguments: Arguments, connection: Connection) -> Reply:
    match [arguments[1].upper(), *arguments[2:]]:
        case [b"ID"]:
            return connection.id
        case [b"GETNAME"]:
            return connection.name or None
        case [b"SETNAME", name]:
            connection.name = _connection_name(name)
            return _OK
        case [b"SETINFO", attribute, _] if attribute.upper() in {b"LIB-NAME", b"LIB-VER"}:
            return _OK
        case [b"SETINFO", attribute, _]:
            raise CommandError(f"Unrecognized option '{printable(attribute)}'")
        case [b"ID" | b"GETNAME" | b"SETNAME" | b"SETINFO" as known, *_]:
            subcommand = known.decode().lower()
            raise CommandError(f"wrong number of arguments for 'client|{subcommand}' command")
        case _:
            raise _unknown_subcommand(arguments, "CLIENT")


def _command(arguments: Arguments, protocol: RespVersion) -> bytes:
    match [argument.upper() for argument in arguments[1:]]:
        case [] | [b"INFO"]:
            return encode_array(list(_DESCRIPTIONS.values()))
        case [b"COUNT"]:
            return encode_integer(len(COMMANDS))
        case [b"COUNT", *_]:
            raise CommandError("wrong number of arguments for 'command|count' command")
        case [b"INFO", *names]:
            null = encode_null(protocol)
            return encode_array([_DESCRIPTIONS.get(name, null) for name in names])
        case [b"DOCS"]:
            return _all_docs(protocol)
        case [b"DOCS", *names]:
            return _docs([name for name in names if name in COMMANDS], protocol)
        case _:
            raise _unknown_subcommand(arguments, "COMMAND")


def _docs(names: Arguments, protocol: RespVersion) -> bytes:
    specs = [COMMANDS[name] for name in names]
    docs: Reply = {spec.name: {"summary": spec.summary, "group": "generic"} for spec in specs}
    return encode_reply(docs, protocol)


@functools.cache
def _all_docs(protocol: RespVersion) -> bytes:
    return _docs(list(COMMANDS), protocol)


def _description(spec: CommandSpec) -> Reply:
    flags: list[Reply] = [SimpleString(flag) for flag in spec.flags]
    return [
        spec.name.encode(),
        spec.arity,
        flags,
        spec.first_key,
        spec.last_key,
        spec.step,
        [],
        [],
        [],
        [],
    ]


# Encoded once, because a client can ask for all of them with a few bytes. There is nothing in them
# that the two protocols word differently.
_DESCRIPTIONS = {name: encode_reply(_description(spec), 2) for name, spec in COMMANDS.items()}


def _config(arguments: Arguments) -> Reply:
    match [arguments[1].upper(), *arguments[2:]]:
        case [b"GET", first, *more]:
            patterns = [pattern.lower() for pattern in (first, *more)]
            return {
                name: value
                for name, value in _CONFIG.items()
                if any(glob_matches(pattern, name.encode()) for pattern in patterns)
            }
        case [b"GET"]:
            raise CommandError("wrong number of arguments for 'config|get' command")
        case _:
            raise _unknown_subcommand(arguments, "CONFIG")


def _snapshot(status: NodeStatus, protocol: RespVersion) -> Immediate:
    """Answers who wants a snapshot, in the manner of Redis' BGSAVE."""
    if status.snapshot_is_lost:
        raise CommandError(
            "this node has lost its snapshot and waits for one from the leader: there is nothing "
            "to take one of"
        )
    if status.snapshot_restoring is not None:
        raise CommandError("this node restores a snapshot: try again when it is done")
    if status.snapshot_taking is not None:
        text, is_wanted = "Background snapshot scheduled", True
    elif status.last_applied > status.snapshot_index:
        text, is_wanted = "Background snapshot started", True
    else:
        text, is_wanted = "Snapshot is up to date", False
    return Immediate(encode_reply(SimpleString(text), protocol), wants_snapshot=is_wanted)


def _unknown_subcommand(arguments: Arguments, command: str) -> CommandError:
    return CommandError(f"unknown subcommand '{printable(arguments[1])}'. Try {command} HELP.")


def _info(view: NodeView) -> str:
    status = view.status
    sections: dict[str, dict[str, int | str]] = {
        "Server": {
            "quorate_version": status.version,
            "process_id": status.pid,
            "client_address": status.client_address,
        },
        "Clients": {"connected_clients": status.connections},
        "Persistence": _persistence(status),
        "Replication": {
            "role": "master",
            "raft_role": status.role,
            "raft_term": status.term,
            "raft_leader": "" if status.leader is None else status.leader,
            "raft_commit_index": status.commit_index,
            "raft_last_applied": status.last_applied,
            "raft_state_bytes": status.raft_state_bytes,
        },
        "Keyspace": {"db0": f"keys={view.keys},expires=0,avg_ttl=0"},
    }
    lines: list[str] = []
    for title, fields in sections.items():
        lines.append(f"# {title}")
        lines.extend(f"{name}:{value}" for name, value in fields.items())
        lines.append("")
    return "\r\n".join(lines)


def _persistence(status: NodeStatus) -> dict[str, int | str]:
    """What Redis' monitors look at, by its names, and what only a node of Quorate has to tell."""
    fields: dict[str, int | str] = {
        "loading": int(status.snapshot_is_lost or status.snapshot_restoring is not None),
        "rdb_bgsave_in_progress": int(status.snapshot_taking is not None),
        "rdb_last_bgsave_status": "err" if status.snapshot_has_failed else "ok",
        "snapshot_index": status.snapshot_index,
        "snapshot_bytes": status.snapshot_bytes,
        "snapshot_age_ms": "" if status.snapshot_age_ms is None else status.snapshot_age_ms,
        "snapshot_is_lost": int(status.snapshot_is_lost),
    }
    for name, progress in (
        ("taking", status.snapshot_taking),
        ("receiving", status.snapshot_receiving),
        ("restoring", status.snapshot_restoring),
    ):
        fields[f"snapshot_{name}"] = "" if progress is None else _shown(progress)
    for progress in status.snapshots_sending:
        fields[f"snapshot_sending_to_{progress.to}"] = _shown(progress)
    return fields


def _shown(progress: SnapshotProgress) -> str:
    shown = f"index={progress.index},offset={progress.offset}"
    return shown if progress.size is None else f"{shown},size={progress.size}"
