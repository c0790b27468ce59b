"""
Bodies that come compressed, although nobody asked for it.

Some gateways do not look at what was accepted. What nearly all of them use, gzip and
deflate, is understood; the rest passes as it is, and whoever reads it says so.
"""

import zlib
from typing import Any

from aitor.errors import MalformedAnswerError
from aitor.wire.base import Response

__all__ = ("CODINGS", "broken_compression", "decoded")

CODINGS = ("gzip", "x-gzip", "deflate")

PIECE = 64 * 1024
"""Most bytes handed out at once: a small body may unfold to a huge one."""

EITHER = 32 + zlib.MAX_WBITS
"""The frame of gzip or of zlib, whichever is there."""

BARE = -zlib.MAX_WBITS
"""No frame, which some servers take `deflate` to mean."""


def decoded(response: Response) -> Response:
    """Return *response* with its body decoded, if that is coded as we know."""
    coding = response.headers.get("content-encoding", "").strip().lower()
    return _Decoded(response) if coding in CODINGS else response


def broken_compression() -> MalformedAnswerError:
    """Return the error for a body that is not coded as it says."""
    return MalformedAnswerError("the answer's compression is broken")


class _Decoded:
    """
    A response whose body is decoded as it comes.

    Args:
        response: Its body is compressed by one of `CODINGS`.
    """

    __slots__ = ("_body", "_more", "_rest", "_unfolding", "headers", "status")

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = response.headers
        self._body = aiter(response)
        self._unfolding: Any = None
        self._rest = b""
        self._more = False

    def __aiter__(self) -> "_Decoded":
        return self

    async def __anext__(self) -> bytes:
        while True:
            data = self._rest
            if not data and not self._more:
                data = await anext(self._body)
            try:
                piece = self._unfold(data)
            except zlib.error:
                break
            if piece:
                return piece
        # Outside the handler, so that the original is not its context.
        raise broken_compression()

    def _unfold(self, data: bytes) -> bytes:
        if self._unfolding is None or self._unfolding.eof:
            self._more = False
            if not data:
                return b""
            # A frame of zlib begins with an 8; no compressor begins so without one.
            framed = data[0] & 0x0F == 8 or data[0] == 0x1F
            self._unfolding = zlib.decompressobj(EITHER if framed else BARE)
        piece: bytes = self._unfolding.decompress(data, PIECE)
        # What follows the end is another member.
        self._rest = self._unfolding.unconsumed_tail or self._unfolding.unused_data
        # Some bytes more may be there, although all that came has been read.
        self._more = len(piece) == PIECE
        return piece
