"""Connection pools: bytes out, status, headers and bytes back."""

import sys

from aitor.errors import ConfigurationError
from aitor.wire.base import Response, Wire, WireSettings
from aitor.wire.proxies import Proxy, proxy_for

__all__ = ("Proxy", "Response", "Wire", "WireSettings", "find_proxy", "open_wire")


def open_wire(transport: str, settings: WireSettings) -> Wire:
    """
    Open the connection pool that *transport* names.

    Only what is named gets imported: each brings a library of its own.

    Args:
        transport: `sockets`, `httpx2`, or `auto`: the former, or the latter where a
            proxy stands in the way, and on Windows, where few sockets can be waited
            for.
        settings: What the pool needs to know.

    Raises:
        ConfigurationError: Naming the setting that is wrong.
        OutOfDescriptorsError: There is none to read certificates with.
    """
    if transport not in ("auto", "sockets", "httpx2"):
        raise ConfigurationError(
            f"'transport' = {transport!r}: must be 'auto', 'sockets' or 'httpx2' "
            "('sdk' goes with a client of the SDK, which is a wire already)"
        )
    if transport == "auto" and sys.platform == "win32":
        transport = "httpx2"
    proxy = find_proxy(transport, settings.base_url)
    if transport == "httpx2" or proxy is not None:
        from aitor.wire.httpx2 import Httpx2Wire

        return Httpx2Wire(settings, proxy=proxy)
    from aitor.wire.sockets import SocketWire

    return SocketWire(settings)


def find_proxy(transport: str, url: str) -> Proxy | None:
    """
    Return the proxy that *transport* has to go through to *url*, if there is one.

    Raises:
        ConfigurationError: Naming the variable of a proxy that cannot be used.
    """
    proxy = proxy_for(url)
    if proxy is not None and transport == "sockets":
        raise ConfigurationError(
            f"'transport' = 'sockets': knows no proxies, and '{proxy.variable}' is set "
            "(use 'auto', or name the host in 'no_proxy')"
        )
    return proxy
