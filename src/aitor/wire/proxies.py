"""
Which proxy stands between here and an address, by the environment's word.

What it says is checked before anything is sent. A proxy's address may have a password
in it, so errors name the variable and never what it holds.
"""

import os
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import urlsplit

from aitor.errors import ConfigurationError
from aitor.wire.address import Address

__all__ = ("Proxy", "proxy_for")

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

    scheme, _, rest = url.partition("://")
    proxies = getproxies()
    name = scheme if scheme in proxies else "all"
    host = rest.partition("/")[0]
    # The brackets of an IPv6 address are none of its own.
    bare = host.partition("]")[0].removeprefix("[")
    if not proxies.get(name) or proxy_bypass(host) or proxy_bypass(bare):
        return None
    found = proxies[name]
    variable = f"{name}_proxy"
    if variable not in os.environ and variable.upper() in os.environ:
        variable = variable.upper()
    proxy = Proxy(variable, found if "://" in found else f"http://{found}")
    _check(proxy)
    return proxy


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
