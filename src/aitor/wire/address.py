"""
What HTTP/1.1 can be asked for: the parts of an address, and the names of headers.

Here and not beside the parser, so that settings can be checked by what will be sent
without loading a parser.
"""

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from aitor.errors import ConfigurationError

__all__ = ("FRAMING", "NAME", "TARGET", "Address", "no_url", "shown_url")

PORTS = {"http": 80, "https": 443}

FIGURES = re.compile(r"(\d\w*\.){0,3}\d\w*", re.ASCII)

FRAMING = ("content-length", "transfer-encoding")
"""Headers that say where a body ends, which is not for settings to say."""

HOST = re.compile(r"[0-9A-Za-z_.:%-]+")
NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TARGET = re.compile(r"/[!-~]*")

BARE = re.compile(r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,6})(:\d+)?(/|$)")
"""A host as it is often written, without a scheme."""

PUBLIC = re.compile(
    r"v\d+(beta|alpha)?\d*|api|openai|anthropic|azure|inference|proxy|gateway|router|"
    r"compatible-mode|compatible|paas|llm|models?|deployments?|engines?|chat|"
    r"completions|responses|messages|embeddings|"
)
"""Parts of a path that say what is asked and cannot be a key: none at all, too."""


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

    A name with other letters than ASCII is written as browsers write it (UTS 46, and
    IDNA 2008 without its transition), so that it is one host for every transport.
    """

    host: str
    port: int
    tls: bool
    authority: str
    prefix: str

    @property
    def url(self) -> str:
        """The address in ASCII, as every client of HTTP reads it."""
        return f"http{'s' * self.tls}://{self.authority}{self.prefix}"

    @classmethod
    def of(cls, url: str) -> "Address":
        """
        Return the address that *url* is.

        Raises:
            ConfigurationError: It cannot be asked.
        """
        try:
            parts = urlsplit(url)
            host = _in_ascii(parts.hostname or "")
            port = parts.port
        except ValueError:  # also what IDNA has against a name
            pass
        else:
            if (
                parts.scheme in PORTS
                and "@" not in parts.netloc
                and HOST.fullmatch(host)
                # Nobody listens on it: it asks a system to choose one.
                and port != 0
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
    return ConfigurationError(
        f"'base_url' = {shown_url(url)!r}: is no URL that can be asked (look at its "
        f"host, port and path)"
    )


def shown_url(url: str) -> str:
    """
    Return *url* as anybody may see it: scheme, host, port and the shape of its path.

    Some gateways have the key in the path or in the query, and a user's password
    stands before the host, so what is not known to be harmless is shown as `…`.
    """
    if BARE.match(url):
        return shown_url(f"http://{url}").removeprefix("http://")
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    user, at, host = parts.netloc.rpartition("@")
    # A key may stand where a scheme is looked for.
    if parts.scheme not in PORTS or not host.isprintable():
        return "…"
    path = "/".join(
        part if PUBLIC.fullmatch(part) else "…" for part in parts.path.split("/")
    )
    query, fragment = parts.query and "…", parts.fragment and "…"
    netloc = f"{user and '…'}{at}{host}"
    return urlunsplit((parts.scheme, netloc, path, query, fragment))


def _in_ascii(host: str) -> str:
    if not host.isascii():
        # Imported here: its tables are large, and few names need them.
        import idna

        host = idna.encode(host, uts46=True).decode("ascii")
    if FIGURES.fullmatch(host):
        # Written in full, since not everybody reads 127.1 or 0x7f000001.
        with suppress(OSError):
            return socket.inet_ntoa(socket.inet_aton(host))
    return host.encode("idna").decode("ascii")
