from typing import Any

import pytest

from quorate.clerk.addresses import parse_address, parse_servers


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7001", "127.0.0.1", 7001),
        ("db-1.example.org:1", "db-1.example.org", 1),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", "7001", "host", "host:", ":7001", "host:0", "host:65536", "host:-1", "host:x"),
        *("host:²", "::1:7001", "a b:7001", "[]:7001", "redis://host:1"),
    ],
)
def test_a_bad_address_is_refused_with_what_is_right(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT, for example 127\.0\.0\.1:7001"):
        parse_address(text)


@pytest.mark.parametrize(
    "servers", ["a:1,b:2", " a:1 , b:2 ", ["a:1", "b:2"], ("a:1", "b:2", "a:1")]
)
def test_servers_are_one_string_or_several(servers: Any) -> None:
    assert parse_servers(servers) == ("a:1", "b:2")


@pytest.mark.parametrize("servers", ["", "a:1,", "a:1;b:2", [], ["a:1,b:2"]])
def test_a_bad_list_of_servers_is_refused_with_what_is_right(servers: Any) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_servers(servers)


def test_an_address_that_is_not_a_string_is_a_type_error() -> None:
    addresses: Any = [("127.0.0.1", 7001)]
    with pytest.raises(TypeError, match="tuple"):
        parse_servers(addresses)
