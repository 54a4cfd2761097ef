"""From the options of `quorate serve` to a server's configuration.

What contradicts itself is refused here, before anything is opened or written.
"""

import ipaddress
from collections.abc import Iterator, Sequence

import msgspec

from quorate.clerk.addresses import check_is_found, parse_address, parse_resolvable_address
from quorate.node.limits import NodeLimits
from quorate.node.settings import NodeSettings
from quorate.raft.configuration import MAX_MEMBERS, MAX_NODE_ID, Member, NodeId
from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import SnapshotSettings
from quorate.runtime.server import ServerConfig

_MEMBER_FORM = "write ID=PEERHOST:PORT,CLIENTHOST:PORT, for example 1=127.0.0.1:8001,127.0.0.1:7001"
_MAX_CLUSTER_ID_LENGTH = 64


class ConfigError(Exception):
    """The options are wrong or contradict each other; the text says what to do."""


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options as given, from wherever; see `quorate serve --help` for their meaning."""

    id: int
    data_dir: str
    client: str | None
    peer: str | None
    members: tuple[str, ...]
    initialize: str | None
    join: tuple[str, ...]
    insecure: bool
    election_timeout_ms: int
    heartbeat_ms: int
    command_timeout_s: float
    max_connections: int
    max_key_bytes: int
    max_value_bytes: int
    max_raft_state: int


def server_config(options: ServeOptions) -> ServerConfig:
    """The configuration that the options ask for.

    Raises:
        ConfigError: they contradict each other.
    """
    if not options.data_dir:
        raise ConfigError("the name of the data directory is empty: give --data-dir one")
    members = _parse_members(options.members)
    if options.join and (options.initialize is not None or members):
        raise ConfigError(
            "--join is for a cluster that exists, and learns its members from it: leave "
            "--initialize and --member out"
        )
    if options.initialize is not None:
        _check_new_cluster(options.initialize, members)
    for address in options.join:
        check_address(address, "--join")
    client, peer = _own_addresses(options, members)
    if client == peer:
        raise ConfigError(
            f"clients and servers cannot both connect to {client}: give --client and --peer "
            "different ports"
        )
    if options.join:
        check_own_address(client, "--client")
        check_own_address(peer, "--peer")
    if not options.insecure:
        _check_is_loopback("--client", client)
        _check_is_loopback("--peer", peer)
    return ServerConfig(
        node=NodeId(options.id),
        data_dir=options.data_dir,
        client_address=client,
        peer_address=peer,
        members=members,
        initialize=options.initialize,
        join=options.join,
        settings=NodeSettings(
            raft=_raft_settings(options),
            snapshots=SnapshotSettings(max_raft_state=options.max_raft_state),
            limits=NodeLimits(
                command_timeout_us=round(options.command_timeout_s * 1_000_000),
                max_connections=options.max_connections,
                max_key_bytes=options.max_key_bytes,
                max_value_bytes=options.max_value_bytes,
            ),
        ),
    )


# ---------------------------------------------------------------------- members


def _parse_members(texts: Sequence[str]) -> tuple[Member, ...]:
    """The members in the order of their ids, each id and each address once."""
    members = sorted(map(_parse_member, texts), key=lambda member: member.id)
    repeated_id = _first_repeated(member.id for member in members)
    if repeated_id is not None:
        raise ConfigError(f"two members have the id {repeated_id}: give each its own")
    repeated_address = _first_repeated(_addresses(members))
    if repeated_address is not None:
        raise ConfigError(
            f"the address {repeated_address} occurs twice among the members: each needs a peer "
            "and a client address of its own"
        )
    return tuple(members)


def _parse_member(text: str) -> Member:
    node, equals, addresses = text.partition("=")
    peer, comma, client = addresses.partition(",")
    if not equals or not comma or not _is_node_id(node):
        raise ConfigError(f"bad member {text!r}: {_MEMBER_FORM}")
    check_address(peer, f"member {text!r}")
    check_address(client, f"member {text!r}")
    return Member(id=NodeId(int(node)), peer_address=peer, client_address=client)


def _is_node_id(text: str) -> bool:
    is_short_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_NODE_ID))
    return is_short_number and 1 <= int(text) <= MAX_NODE_ID


def _addresses(members: Sequence[Member]) -> Iterator[str]:
    for member in members:
        yield member.peer_address
        yield member.client_address


def _first_repeated(values: Iterator[int] | Iterator[str]) -> int | str | None:
    seen: set[int | str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def check_cluster_id(cluster_id: str, where: str) -> None:
    """Refuses what cannot be the id of a cluster.

    Raises:
        ConfigError: it names the option.
    """
    if not cluster_id.isprintable() or not 1 <= len(cluster_id) <= _MAX_CLUSTER_ID_LENGTH:
        raise ConfigError(
            f"bad cluster id {cluster_id!r}: {where} takes 1 to {_MAX_CLUSTER_ID_LENGTH} "
            "printable characters"
        )


def _check_new_cluster(cluster_id: str, members: tuple[Member, ...]) -> None:
    check_cluster_id(cluster_id, "--initialize")
    if not members:
        raise ConfigError("--initialize needs the members of the new cluster: give each --member")
    if len(members) > MAX_MEMBERS:
        raise ConfigError(
            f"{len(members)} members are too many: {MAX_MEMBERS} at most are possible"
        )


# ---------------------------------------------------------------------- addresses


def _own_addresses(options: ServeOptions, members: tuple[Member, ...]) -> tuple[str, str]:
    """This node's client and peer address; those not given are as its member's entry says."""
    if not members:
        if options.client is None or options.peer is None:
            raise ConfigError(
                "the node's addresses are missing: give --client and --peer, or all the members"
            )
        check_address(options.client, "--client")
        check_address(options.peer, "--peer")
        return options.client, options.peer
    mine = next((member for member in members if member.id == options.id), None)
    if mine is None:
        known = ", ".join(str(member.id) for member in members)
        raise ConfigError(
            f"node {options.id} is not among the members ({known}): add its --member, or correct "
            "--id"
        )
    for name, given, known in (
        ("--client", options.client, mine.client_address),
        ("--peer", options.peer, mine.peer_address),
    ):
        if given not in {None, known}:
            raise ConfigError(
                f"{name} {given} contradicts the member's entry of node {options.id}, which says "
                f"{known}: make them the same, or leave {name} out"
            )
    return mine.client_address, mine.peer_address


def check_address(text: str, where: str) -> None:
    """Refuses what is no address, or what no look-up of names would take.

    Raises:
        ConfigError: it names where the address comes from.
    """
    try:
        parse_resolvable_address(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def check_own_address(text: str, where: str) -> None:
    """Refuses an address at which the members would not find the node that is to be one of them.

    Raises:
        ConfigError: it names where the address comes from.
    """
    try:
        check_is_found(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def is_loopback(address: str) -> bool:
    """Whether no other machine can reach it, so that `--insecure` is not needed."""
    host, _ = parse_address(address)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name, which may lead anywhere


def _check_is_loopback(name: str, address: str) -> None:
    if not is_loopback(address):
        raise ConfigError(
            f"{name} {address} is reachable from other machines, and connections are neither "
            "encrypted nor authenticated: use a loopback address, or allow it with --insecure"
        )


# ---------------------------------------------------------------------- Raft


def _raft_settings(options: ServeOptions) -> Settings:
    if options.heartbeat_ms >= options.election_timeout_ms:
        raise ConfigError(
            f"a heartbeat every {options.heartbeat_ms} ms comes too late for an election timeout "
            f"of {options.election_timeout_ms} ms: make --heartbeat-ms much smaller than "
            "--election-timeout-ms"
        )
    election_timeout_us = options.election_timeout_ms * 1000
    return Settings(
        election_timeout_us=election_timeout_us,
        heartbeat_interval_us=options.heartbeat_ms * 1000,
        # As in the defaults: an unanswered AppendEntries is repeated well before an election.
        append_timeout_us=election_timeout_us // 2,
    )
