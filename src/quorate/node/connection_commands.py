"""The commands about a connection or about this node itself; they need neither log nor leader."""

import fnmatch
from collections.abc import Callable

import msgspec

from quorate.node.commands import COMMANDS, Arguments, CommandSpec
from quorate.node.connection import Connection
from quorate.node.requests import CommandError, Immediate
from quorate.node.status import NodeStatus
from quorate.wire.resp_reply import Reply, RespVersion, SimpleString

_OK = SimpleString("OK")

# What redis-benchmark asks for, answered as a Redis would that writes like a Quorate.
_CONFIG = {"save": "", "appendonly": "yes", "appendfsync": "always"}


class NodeView(msgspec.Struct, frozen=True):
    """What these commands can say about the node.

    Attributes:
        status: of the node.
        leader_address: the leader's client address, if known.
        keys: how many keys this node's own copy holds.
    """

    status: NodeStatus
    leader_address: str | None
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
        case "ping":
            return Immediate(_ping(arguments, connection))
        case "echo":
            return Immediate(arguments[1])
        case "quit":
            return Immediate(_OK, closes=True)
        case "select":
            return Immediate(_select(arguments))
        case "hello":
            return Immediate(_hello(arguments, connection, view()))
        case "client":
            return Immediate(_client(arguments, connection))
        case "command":
            return Immediate(_command(arguments))
        case "config":
            return Immediate(_config(arguments))
        case "info":
            return Immediate(_info(view()))
        case "quorate.leader":
            return Immediate(view().leader_address)
        case "quorate.status":
            return Immediate(msgspec.json.encode(view().status))
        case _:
            raise AssertionError(f"{spec.name} has no implementation")


def _ping(arguments: Arguments, _connection: Connection) -> Reply:
    match arguments:
        case [_]:
            return SimpleString("PONG")
        case [_, message]:
            return message
        case _:
            raise CommandError("wrong number of arguments for 'ping' command")


def _select(arguments: Arguments) -> Reply:
    try:
        number = int(arguments[1])
    except ValueError:
        raise CommandError("value is not an integer or out of range") from None
    if number != 0:
        raise CommandError("DB index is out of range")
    return _OK


def _hello(arguments: Arguments, connection: Connection, view: NodeView) -> Reply:
    protocol: RespVersion = connection.protocol
    name: bytes | None = None
    match arguments[1:]:
        case []:
            pass
        case [version, *options]:
            protocol = _protocol_version(version)
            name = _hello_name(options)
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
        case _ if version.isdigit():
            raise CommandError("unsupported protocol version", code="NOPROTO")
        case _:
            raise CommandError("Protocol version is not an integer or out of range")


def _hello_name(options: Arguments) -> bytes | None:
    name: bytes | None = None
    while options:
        match options:
            case [option, value, *rest] if option.upper() == b"SETNAME":
                name = _connection_name(value)
                options = rest
            case [option, _, _, *_] if option.upper() == b"AUTH":
                raise CommandError("AUTH is not supported: no password is configured")
            case [option, *_]:
                raise CommandError(f"Syntax error in HELLO option '{option.decode('latin-1')}'")
    return name


def _connection_name(name: bytes) -> bytes:
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
            raise CommandError(f"Unrecognized option '{attribute.decode('latin-1')}'")
        case [b"ID" | b"GETNAME" | b"SETNAME" | b"SETINFO" as known, *_]:
            subcommand = known.decode().lower()
            raise CommandError(f"wrong number of arguments for 'client|{subcommand}' command")
        case _:
            raise _unknown_subcommand(arguments, "CLIENT")


def _command(arguments: Arguments) -> Reply:
    match [argument.upper() for argument in arguments[1:]]:
        case []:
            return [_description(spec) for spec in COMMANDS.values()]
        case [b"COUNT"]:
            return len(COMMANDS)
        case [b"INFO"]:
            return [_description(spec) for spec in COMMANDS.values()]
        case [b"INFO", *names]:
            found = [COMMANDS.get(name) for name in names]
            return [None if spec is None else _description(spec) for spec in found]
        case [b"DOCS", *names]:
            wanted = names or list(COMMANDS)
            return {
                COMMANDS[name].name: {"summary": COMMANDS[name].summary, "group": "generic"}
                for name in wanted
                if name in COMMANDS
            }
        case _:
            raise _unknown_subcommand(arguments, "COMMAND")


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


def _config(arguments: Arguments) -> Reply:
    match [arguments[1].upper(), *arguments[2:]]:
        case [b"GET", first, *more]:
            patterns = [pattern.decode("latin-1").lower() for pattern in (first, *more)]
            return {
                name: value
                for name, value in _CONFIG.items()
                if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
            }
        case [b"GET"]:
            raise CommandError("wrong number of arguments for 'config|get' command")
        case _:
            raise _unknown_subcommand(arguments, "CONFIG")


def _unknown_subcommand(arguments: Arguments, command: str) -> CommandError:
    shown = arguments[1][:128].decode("utf-8", "replace")
    return CommandError(f"unknown subcommand '{shown}'. Try {command} HELP.")


def _info(view: NodeView) -> str:
    status = view.status
    sections: dict[str, dict[str, int | str]] = {
        "Server": {
            "quorate_version": status.version,
            "process_id": status.pid,
            "client_address": status.client_address,
        },
        "Clients": {"connected_clients": status.connections},
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
