"""
A fake provider seen and steered over HTTP, for tests in other processes.

====== ==================== =================================================
GET    `/_fake/log`         what came, a list of `Seen`
GET    `/_fake/bill`        what would be paid for, a `Bill`
GET    `/_fake/statistics`  the counts, a `Statistics`
GET    `/_fake/faults`      the faults in force, a list
POST   `/_fake/faults`      a list of faults, texts or objects, to put in force
POST   `/_fake/reset`       starts afresh: log, counts, limits, faults, seed, time
====== ==================== =================================================
"""

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from aitor.testing.faults import Fault
from aitor.testing.http import HTTPRequest, HTTPResponse, json_response

if TYPE_CHECKING:
    from aitor.testing.provider import FakeProvider

__all__ = ("PREFIX", "control")

PREFIX = "/_fake/"


def control(provider: "FakeProvider", request: HTTPRequest) -> HTTPResponse:
    """
    Answer a request whose path begins with `/_fake/`.
    """
    match request.method, request.path.removeprefix(PREFIX):
        case "GET", "log":
            return json_response(200, [asdict(seen) for seen in provider.log])
        case "GET", "bill":
            return json_response(200, asdict(provider.bill()))
        case "GET", "statistics":
            return json_response(200, asdict(provider.statistics()))
        case "GET", "faults":
            return json_response(200, [_plain(fault) for fault in provider.faults])
        case "POST", "faults":
            return _set_faults(provider, request.body)
        case "POST", "reset":
            provider.reset()
            return json_response(200, {})
        case method, name:
            return json_response(404, {"error": f"no such thing: {method} {name}"})


def _set_faults(provider: "FakeProvider", body: bytes) -> HTTPResponse:
    try:
        provider.faults = list(json.loads(body))
    except (ValueError, TypeError) as error:
        return json_response(400, {"error": f"expected a list of faults: {error}"})
    return json_response(200, [_plain(fault) for fault in provider.faults])


def _plain(fault: Fault) -> dict[str, Any]:
    # Only what was set: the endless `until` has no JSON.
    usual = Fault(kind="close")
    values = {item.name: getattr(fault, item.name) for item in fields(fault)}
    changed = {k: v for k, v in values.items() if v != getattr(usual, k)}
    return {"kind": fault.kind, **changed}
