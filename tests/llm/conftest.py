"""Managers are tested on what providers are: a scripted wire, and no keys."""

from tests.providers.conftest import _no_keys, wire

__all__ = ("_no_keys", "wire")
