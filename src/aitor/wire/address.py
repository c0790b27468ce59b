"""
What HTTP/1.1 can be asked for: the parts of an address, and the names of headers.

Here and not beside the parser, so that settings can be checked by what will be sent
without loading a parser.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from aitor.errors import ConfigurationError

__all__ = ("FRAMING", "NAME", "TARGET", "Address", "no_url")

PORTS = {"http": 80, "https": 443}

FRAMING = ("content-length", "transfer-encoding")
"""Headers that say where a body ends, which is not for settings to say."""

HOST = re.compile(r"[0-9A-Za-z_.:%-]+")
NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TARGET = re.compile(r"/[!-~]*")


@dataclass(frozen=True, slots=True)
class Address:
    """
    Where requests go.

    Args:
        host: A name or an address, in ASCII.
        port: The TCP port.
        tls: Whether it is spoken to in TLS.
        authority: Host, and port where it was named, as the header `host` has them.
        prefix: What each path is appended to.
    """

    host: str
    port: int
    tls: bool
    authority: str
    prefix: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """
        Return the address that *url* is.

        Raises:
            ConfigurationError: It cannot be asked.
        """
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").encode("idna").decode("ascii")
            port = parts.port
        except ValueError:
            pass
        else:
            if (
                parts.scheme in PORTS
                and "@" not in parts.netloc
                and HOST.fullmatch(host)
                and TARGET.fullmatch(parts.path + "/")
            ):
                name = f"[{host}]" if ":" in host else host
                return cls(
                    host,
                    port or PORTS[parts.scheme],
                    parts.scheme == "https",
                    f"{name}:{port}" if port else name,
                    parts.path,
                )
        raise no_url(url)


def no_url(url: str) -> ConfigurationError:
    """Return the error for an address that cannot be asked."""
    # Before an @ there may be a password.
    told = "…" if "@" in url else repr(url)
    return ConfigurationError(f"'base_url' = {told}: is no URL that can be asked")
