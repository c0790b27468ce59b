"""
Which proxy stands between here and an address, by the environment's word.

What it says is checked before anything is sent. A proxy's address may have a password
in it, so errors name the variable and never what it holds.
"""

import os
import re
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from aitor.errors import ConfigurationError
from aitor.wire.address import Address

__all__ = ("Proxy", "proxy_for")

PORT = re.compile(r"(\[.*\]|[^:\[\]]+):(\d+)")
"""A name or an address, and a port."""

BRACKETS = str.maketrans("", "", "[]")
"""None of an IPv6 address's own."""

SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class Proxy:
    """
    A proxy.

    Args:
        variable: The environment variable that names it.
        url: Its address, which may have a password in it.
    """

    variable: str
    url: str = field(repr=False)


def proxy_for(url: str) -> Proxy | None:
    """
    Return the proxy between here and *url*, if there is one.

    Raises:
        ConfigurationError: Naming the variable that names no proxy we can ask.
    """
    named = any(name.lower().endswith("_proxy") for name in os.environ)
    if not named and sys.platform not in ("darwin", "win32"):
        return None
    # Imported here: it takes 30 ms.
    from urllib.request import getproxies, proxy_bypass

    address = Address.of(url)
    scheme = "https" if address.tls else "http"
    proxies = getproxies()
    name = scheme if scheme in proxies else "all"
    if not proxies.get(name) or _is_direct(address, proxies.get("no", "")):
        return None
    # What the system's own settings say, on macOS and Windows.
    if sys.platform in ("darwin", "win32") and proxy_bypass(address.host):
        return None
    found = proxies[name]
    variable = f"{name}_proxy"
    if variable not in os.environ and variable.upper() in os.environ:
        variable = variable.upper()
    proxy = Proxy(variable, found if "://" in found else f"http://{found}")
    _check(proxy)
    return proxy


def _is_direct(address: Address, exceptions: str) -> bool:
    """
    Return whether `no_proxy` names *address*.

    Every way of writing that is in use counts: names and what lies below them, with
    or without a dot or an asterisk in front; addresses and networks of both versions
    of IP, with or without brackets; each with a port or without; and `*` for all.
    """
    return any(
        _names(entry, address) for entry in exceptions.replace(",", " ").lower().split()
    )


def _names(entry: str, address: Address) -> bool:
    if entry == "*":
        return True
    if with_port := PORT.fullmatch(entry):
        if int(with_port[2]) != address.port:
            return False
        entry = with_port[1]
    entry = entry.translate(BRACKETS)
    with suppress(ValueError):
        # One address is a network, too: of itself.
        network = ip_network(entry, strict=False)
        figures = _figures(address.host)
        return figures is not None and figures in network
    name = entry.removeprefix("*").removeprefix(".").removesuffix(".")
    with suppress(ConfigurationError):
        # In the same letters as the host that is asked.
        name = Address.of(f"http://{name}").host
    host = address.host.removesuffix(".")
    return bool(name) and f".{host}".endswith(f".{name}")


def _figures(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that *host* is in figures, however they are written."""
    try:
        found = socket.getaddrinfo(host, 0, flags=socket.AI_NUMERICHOST)
    except OSError:
        return None
    figures = ip_address(found[0][4][0])
    # `::ffff:10.0.0.1` is 10.0.0.1.
    return getattr(figures, "ipv4_mapped", None) or figures


def _check(proxy: Proxy) -> None:
    try:
        parts = urlsplit(proxy.url)
        Address.of(f"http://{parts.netloc.rpartition('@')[2]}")
        wrong = not proxy.url.isprintable() or " " in proxy.url
    except ValueError:
        wrong = True
    # Outside the handler: what was raised there quotes the address.
    if wrong:
        raise ConfigurationError(
            f"'{proxy.variable}' names no proxy that can be asked (look at its host "
            f"and port)"
        )
    if parts.scheme not in SCHEMES:
        raise ConfigurationError(
            f"'{proxy.variable}' names a proxy that nobody here speaks to: its "
            f"address must begin with http, https, socks5 or socks5h"
        )
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigurationError(
            f"'{proxy.variable}' names a SOCKS proxy, which takes the package "
            f"'socksio': install it, or name the host in 'no_proxy'"
        )
