"""The addresses of servers as people write them. Resolving their names is the shells' business."""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

_FORM = "write HOST:PORT, for example 127.0.0.1:7001 or [::1]:7001"


class Address(NamedTuple):
    """Where a server listens; an IPv6 `host` stands without brackets."""

    host: str
    port: int

    @property
    def is_everywhere(self) -> bool:
        """Whether it stands for all addresses of a machine, so that nobody finds it by that."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False  # a name


def parse_address(text: str) -> Address:
    """Takes `HOST:PORT` apart; an IPv6 host stands in brackets.

    Raises:
        ValueError: it is not of that form; the text says what is right.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"bad server address {text!r}: an IPv6 host needs brackets; {_FORM}")
    if not colon or not host or any(character.isspace() for character in host):
        raise ValueError(f"bad server address {text!r}: {_FORM}")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f"bad server address {text!r}: the port is 1 to 65535; {_FORM}")
    return Address(host, int(port))


def parse_resolvable_address(text: str) -> Address:
    """As `parse_address`, but refuses hosts that no look-up of names takes either.

    Raises:
        ValueError: the text says what is right.
    """
    address = parse_address(text)
    try:
        address.host.encode("idna")  # as the look-up does
    except UnicodeError as error:
        raise ValueError(
            f"bad server address {text!r}: no host has such a name; {_FORM}"
        ) from error
    return address


def check_is_found(text: str) -> None:
    """Sees that other servers and clients can find a server by its address.

    Raises:
        ValueError: it is no address, or one that stands for all of its machine's.
    """
    if parse_resolvable_address(text).is_everywhere:
        raise ValueError(
            f"nobody else finds the node at {text}: give it the address of its machine"
        )


def parse_servers(servers: str | Iterable[str]) -> tuple[str, ...]:
    """The servers of a cluster: addresses separated by commas, or several strings.

    Returns:
        The addresses in the order given, each once.

    Raises:
        ValueError: an address is not `HOST:PORT`, or there is none.
        TypeError: an address is not a string.
    """
    texts = servers.split(",") if isinstance(servers, str) else list(servers)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"a server address is a str, not {type(text).__name__}; {_FORM}")
    addresses = dict.fromkeys(text.strip() for text in texts)
    if not addresses:
        raise ValueError(f"no server address given: {_FORM}")
    for address in addresses:
        parse_address(address)
    return tuple(addresses)
