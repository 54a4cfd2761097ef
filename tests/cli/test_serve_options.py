import math
from pathlib import Path

import click
import msgspec
import pytest

from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.serve import serve
from quorate.cli.serve_options import ConfigError, ServeOptions, server_config
from quorate.raft.configuration import Member, NodeId
from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import NEVER, SnapshotSettings

MEMBERS = (
    "1=127.0.0.1:8001,127.0.0.1:7001",
    "2=127.0.0.1:8002,127.0.0.1:7002",
    "3=127.0.0.1:8003,127.0.0.1:7003",
)


def options(*arguments: str) -> ServeOptions:
    """What `quorate serve` understands of its arguments, environment and file."""
    context = serve.make_context("serve", list(arguments))
    return msgspec.convert(context.params, ServeOptions)


def with_members(*more: str) -> list[str]:
    flags = [flag for member in MEMBERS for flag in ("--member", member)]
    return ["--id", "1", "--data-dir", "d", *flags, *more]


def refusal(*arguments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        server_config(options(*arguments))
    text = str(caught.value)
    assert "\n" not in text
    return text


# ---------------------------------------------------------------------- where options come from


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "ID",
        "DATA_DIR",
        "CLIENT",
        "PEER",
        "MEMBERS",
        "HEARTBEAT_MS",
        "CONFIG",
        "MAX_RAFT_STATE",
    ):
        monkeypatch.delenv(f"QUORATE_{name}", raising=False)
    return tmp_path / "node.toml"


def test_every_option_of_a_node_can_come_from_the_file(config_file: Path) -> None:
    config_file.write_text(
        f"""
        id = 2
        data_dir = "/var/lib/quorate"
        members = {list(MEMBERS)}
        insecure = true
        election_timeout_ms = 900
        heartbeat_ms = 90
        command_timeout_s = 2
        max_connections = 7
        max_key_bytes = 8
        max_value_bytes = 9
        max_raft_state = 10
        """
    )
    config = server_config(options("--config", str(config_file)))
    assert (config.node, config.data_dir) == (2, "/var/lib/quorate")
    assert (config.client_address, config.peer_address) == ("127.0.0.1:7002", "127.0.0.1:8002")
    assert config.settings.raft.election_timeout_us == 900_000
    assert config.settings.raft.heartbeat_interval_us == 90_000
    assert config.settings.limits.command_timeout_us == 2_000_000
    assert config.settings.limits.max_connections == 7
    assert config.settings.limits.max_key_bytes == 8
    assert config.settings.limits.max_value_bytes == 9
    assert config.settings.snapshots.max_raft_state == 10


def test_an_option_wins_over_the_environment_which_wins_over_the_file(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_file.write_text('id = 1\ndata_dir = "from-file"\nheartbeat_ms = 11')
    monkeypatch.setenv("QUORATE_CONFIG", str(config_file))
    monkeypatch.setenv("QUORATE_DATA_DIR", "from-environment")
    monkeypatch.setenv("QUORATE_HEARTBEAT_MS", "22")
    found = options("--heartbeat-ms", "33")
    assert (found.id, found.data_dir, found.heartbeat_ms) == (1, "from-environment", 33)
    assert found.election_timeout_ms == Settings().election_timeout_us // 1000


def test_the_members_in_the_environment_have_spaces_in_between(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_file.write_text('id = 1\ndata_dir = "d"\nmembers = ["9=a:1,b:1"]')
    monkeypatch.setenv("QUORATE_MEMBERS", " ".join(MEMBERS))
    assert options("--config", str(config_file)).members == MEMBERS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("idd = 1", "unknown field `idd`. Its keys are id, data_dir"),
        ('initialize = "c"', "unknown field `initialize`"),
        ('id = "1"', r"Expected `int.*\$\.id"),
        ("id = ", "is not TOML: Invalid value"),
        # Once tracebacks: Python's own parsers have limits that tomllib does not know of.
        ("id = " + "1" * 5000, "is not TOML: Exceeds the limit"),
        ("id = " + "[" * 100_000, "is not TOML: maximum recursion depth"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_key(
    config_file: Path, text: str, message: str
) -> None:
    config_file.write_text(text)
    with pytest.raises(CommandFailure, match=message) as caught:
        options("--config", str(config_file))
    assert str(config_file) in str(caught.value)
    assert caught.value.status is ExitStatus.USAGE


def test_a_file_that_is_missing_is_the_environments_fault(config_file: Path) -> None:
    with pytest.raises(CommandFailure, match="No such file") as caught:
        options("--config", str(config_file))
    assert caught.value.status is ExitStatus.FAILED


@pytest.mark.parametrize("number", ["0", "-1", "one"])
def test_a_bad_number_is_a_usage_error(number: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        options("--id", number, "--data-dir", "d")
    assert "--id" in caught.value.format_message()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1", 1),
        ("67108864", 64 * 2**20),
        ("4KiB", 4096),
        ("64MiB", 64 * 2**20),
        ("64 mib", 64 * 2**20),
        ("2GiB", 2 * 2**30),
        ("never", NEVER),
        ("-1", NEVER),
    ],
)
def test_the_raft_state_has_a_size_wherever_it_comes_from(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, text: str, size: int
) -> None:
    def found(*arguments: str) -> int:
        config = server_config(options(*with_members(*arguments)))
        return config.settings.snapshots.max_raft_state

    assert found() == SnapshotSettings().max_raft_state
    assert found("--max-raft-state", text) == size
    config_file.write_text(f'max_raft_state = "{text}"')
    assert found("--config", str(config_file)) == size
    monkeypatch.setenv("QUORATE_MAX_RAFT_STATE", text)
    assert found() == size


@pytest.mark.parametrize("text", ["", "-2", "64MB", "64M", "1.5MiB", "MiB", "9" * 16, "1e6", "n"])
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        options(*with_members(f"--max-raft-state={text}"))
    assert "--max-raft-state" in caught.value.format_message()


# ---------------------------------------------------------------------- a good configuration


def test_the_members_are_in_the_order_of_their_ids() -> None:
    arguments = ["--id=2", "--data-dir=d"] + [f"--member={text}" for text in reversed(MEMBERS)]
    assert server_config(options(*arguments)).members == tuple(
        Member(NodeId(node), f"127.0.0.1:{8000 + node}", f"127.0.0.1:{7000 + node}")
        for node in (1, 2, 3)
    )


def test_without_members_the_addresses_are_given() -> None:
    config = server_config(
        options("--id=4", "--data-dir=d", "--client=[::1]:7001", "--peer=localhost:8001")
    )
    assert (config.client_address, config.peer_address) == ("[::1]:7001", "localhost:8001")
    assert config.members == ()


def test_an_append_is_repeated_well_before_the_election_timeout() -> None:
    for timeout_ms in (50, 500, 5000):
        settings = server_config(
            options(*with_members("--election-timeout-ms", str(timeout_ms), "--heartbeat-ms=10"))
        ).settings.raft
        assert settings.append_timeout_us == settings.election_timeout_us // 2
    assert Settings().append_timeout_us == Settings().election_timeout_us // 2


# ---------------------------------------------------------------------- contradictions


def test_two_members_with_one_id() -> None:
    text = refusal(*with_members("--member", "2=127.0.0.1:8009,127.0.0.1:7009"))
    assert text == "two members have the id 2: give each its own"


@pytest.mark.parametrize(
    "member",
    [
        "4=127.0.0.1:8002,127.0.0.1:7004",
        "4=127.0.0.1:8004,127.0.0.1:7002",
        "4=127.0.0.1:7002,127.0.0.1:7004",
        "4=127.0.0.1:8004,127.0.0.1:8004",
    ],
)
def test_two_members_with_one_address(member: str) -> None:
    assert "occurs twice among the members" in refusal(*with_members("--member", member))


def test_a_node_that_is_no_member() -> None:
    text = refusal(*with_members("--id", "4"))
    assert text.startswith("node 4 is not among the members (1, 2, 3): add its --member")


@pytest.mark.parametrize(
    ("option", "known"), [("--client", "127.0.0.1:7001"), ("--peer", "127.0.0.1:8001")]
)
def test_own_addresses_that_differ_from_the_members_entry(option: str, known: str) -> None:
    text = refusal(*with_members(option, "127.0.0.1:9999"))
    assert text.startswith(f"{option} 127.0.0.1:9999 contradicts the member's entry of node 1")
    assert known in text
    assert server_config(options(*with_members(option, known))).node == 1


def test_one_address_for_clients_and_peers() -> None:
    text = refusal("--id=1", "--data-dir=d", "--client=127.0.0.1:7001", "--peer=127.0.0.1:7001")
    assert text.startswith("clients and servers cannot both connect to 127.0.0.1:7001")


@pytest.mark.parametrize("option", ["--client", "--peer"])
def test_who_joins_says_where_others_find_it(option: str) -> None:
    own = {"--client": "127.0.0.1:7001", "--peer": "127.0.0.1:8001", option: "0.0.0.0:9"}
    addresses = [f"{name}={address}" for name, address in own.items()]
    arguments = ("--id=1", "--data-dir=d", *addresses, "--insecure")
    text = refusal(*arguments, "--join=127.0.0.1:7002")
    assert text.startswith(f"{option}: nobody else finds the node at 0.0.0.0:9: give it the addr")
    assert server_config(options(*arguments)).node == 1, "who is a member already may listen there"


def test_a_cluster_of_too_many_members() -> None:
    members = [f"--member={n}=127.0.0.1:{8000 + n},127.0.0.1:{9000 + n}" for n in range(1, 66)]
    text = refusal("--id=1", "--data-dir=d", "--initialize=c", *members)
    assert text == "65 members are too many: 64 at most are possible"
    server_config(options("--id=1", "--data-dir=d", "--initialize=c", *members[:-1]))


def test_no_address_at_all() -> None:
    assert "give --client and --peer" in refusal("--id=1", "--data-dir=d")


@pytest.mark.parametrize("heartbeat_ms", ["500", "501"])
def test_a_heartbeat_that_comes_after_the_election_timeout(heartbeat_ms: str) -> None:
    text = refusal(*with_members("--heartbeat-ms", heartbeat_ms))
    assert text.startswith(f"a heartbeat every {heartbeat_ms} ms comes too late")


@pytest.mark.parametrize(
    "address", ["0.0.0.0:7001", "192.0.2.1:7001", "[::]:7001", "host.example:7001"]
)
def test_what_other_machines_can_reach_needs_the_insecure_option(address: str) -> None:
    member = f"1=127.0.0.1:8001,{address}"
    arguments = ("--id=1", "--data-dir=d", "--member", member)
    assert f"--client {address} is reachable from other machines" in refusal(*arguments)
    assert server_config(options(*arguments, "--insecure")).client_address == address


@pytest.mark.parametrize("address", ["127.0.0.1:7001", "127.8.9.1:7001", "[::1]:7", "localhost:1"])
def test_a_loopback_address_does_not(address: str) -> None:
    arguments = ("--id=1", "--data-dir=d", "--peer=127.0.0.1:8001", "--client", address)
    assert server_config(options(*arguments)).client_address == address


@pytest.mark.parametrize(
    "member",
    [
        "",
        "1",
        "0=127.0.0.1:1,127.0.0.1:2",
        f"{2**31}=127.0.0.1:1,127.0.0.1:2",
        f"{'9' * 5000}=127.0.0.1:1,127.0.0.1:2",
        "one=127.0.0.1:1,127.0.0.1:2",
        "1=127.0.0.1:1",
        "1=127.0.0.1:1,",
        "1=127.0.0.1:1,127.0.0.1:99999",
        "1=127.0.0.1:1,127.0.0.1:2,127.0.0.1:3",
        f"1=127.0.0.1:1,{'x' * 70}:2",
    ],
)
def test_a_member_that_is_not_of_the_form(member: str) -> None:
    assert "member" in refusal("--id=1", "--data-dir=d", "--member", member)


def test_a_data_directory_without_a_name() -> None:
    assert "data directory is empty" in refusal(*with_members("--data-dir="))


def test_an_id_that_no_format_takes_is_refused_before_anything_is_written() -> None:
    with pytest.raises(click.BadParameter) as caught:
        options("--id", str(2**64), "--data-dir=d")
    assert "--id" in caught.value.format_message()


def test_a_new_cluster_needs_members_and_a_name() -> None:
    addresses = ("--id=1", "--data-dir=d", "--client=127.0.0.1:1", "--peer=127.0.0.1:2")
    assert "needs the members" in refusal(*addresses, "--initialize=c")
    assert "bad cluster id ''" in refusal(*with_members("--initialize="))
    assert "bad cluster id 'a\\nb'" in refusal(*with_members("--initialize=a\nb"))
    assert "bad cluster id" in refusal(*with_members("--initialize", "x" * 65))


@pytest.mark.parametrize("seconds", ["0", "-1", str(math.inf), str(math.nan)])
def test_a_command_timeout_is_a_number_of_seconds(seconds: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        options(*with_members("--command-timeout-s", seconds))
    assert "--command-timeout-s" in caught.value.format_message()
