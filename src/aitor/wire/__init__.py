"""Connection pools: bytes out, status, headers and bytes back."""

import sys

from aitor.errors import ConfigurationError
from aitor.wire.base import Response, Wire, WireSettings

__all__ = ("Response", "Wire", "WireSettings", "open_wire")


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
    """
    if transport not in ("auto", "sockets", "httpx2"):
        raise ConfigurationError(
            f"'transport' = {transport!r}: must be 'auto', 'sockets' or 'httpx2' "
            "('sdk' goes with a client of the SDK, which is a wire already)"
        )
    if transport == "auto" and sys.platform == "win32":
        transport = "httpx2"
    try:
        if transport == "httpx2" or _proxy(settings.base_url, transport):
            from aitor.wire.httpx2 import Httpx2Wire

            return Httpx2Wire(settings)
        from aitor.wire.sockets import SocketWire

        return SocketWire(settings)
    except OSError as error:
        raise ConfigurationError(
            f"the certificates to trust cannot be read ({error.strerror}): look at "
            f"the variables SSL_CERT_FILE and SSL_CERT_DIR"
        ) from None


def _proxy(url: str, transport: str) -> bool:
    """Return whether a proxy stands between here and *url*."""
    # Imported here: it takes 30 ms.
    from urllib.request import getproxies, proxy_bypass

    scheme, _, rest = url.partition("://")
    proxies = getproxies()
    name = scheme if scheme in proxies else "all"
    if not proxies.get(name) or proxy_bypass(rest.partition("/")[0]):
        return False
    if transport == "sockets":
        raise ConfigurationError(
            f"'transport' = 'sockets': knows no proxies, and '{name}_proxy' is set "
            "(use 'auto', or name the host in 'no_proxy')"
        )
    return True
