"""Connection pools: bytes out, status, headers and bytes back."""

from aitor.errors import ConfigurationError
from aitor.wire.base import Response, Wire, WireSettings

__all__ = ("Response", "Wire", "WireSettings", "open_wire")


def open_wire(transport: str, settings: WireSettings) -> Wire:
    """
    Open the connection pool that *transport* names.

    Only what is named gets imported: each brings a library of its own.

    Args:
        transport: `pyqwest`, `httpx2`, or `auto` for the faster of them.
        settings: What the pool needs to know.

    Raises:
        ConfigurationError: Naming the setting that is wrong.
    """
    match transport:
        case "auto" | "pyqwest":
            from aitor.wire.pyqwest import PyqwestWire

            return PyqwestWire(settings)
        case "httpx2":
            from aitor.wire.httpx2 import Httpx2Wire

            return Httpx2Wire(settings)
        case _:
            raise ConfigurationError(
                f"'transport' = {transport!r}: must be 'auto', 'pyqwest' or 'httpx2' "
                "('sdk' goes with a client of the SDK, which is a wire already)"
            )
