"""
What a configuration means, and what about it makes one wonder.

A description is plain data that can be written as JSON: numbers with their units in
the names, and never a key. It also tells what follows from the numbers, such as the
pace that a limit allows, because that is what people want to know who look at it.
"""

import difflib
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from aitor.broker.limit import Limit
from aitor.broker.prices import Prices
from aitor.config.configuration import Configuration, ConfiguredProvider
from aitor.messages import Usage
from aitor.providers.base import Provider
from aitor.providers.rules import covers, rules_of
from aitor.providers.settings import LimitSettings, ProviderSettings
from aitor.wire.address import shown_url

__all__ = ("describe", "doubts")

LOCAL = frozenset({"localhost", "::1"})
"""Hosts, besides 127.…, to which nothing travels over a network."""

LONG_QUEUE = 3_600.0
"""Seconds after which hardly anybody still waits for an answer."""


def describe(
    configuration: Configuration, providers: Mapping[str, Provider]
) -> dict[str, Any]:
    """
    Return what *configuration* means.

    Args:
        configuration: What is described.
        providers: The providers made of it, by name.
    """
    return {
        "source": configuration.source,
        "backend": configuration.backend,
        "failover": list(configuration.failover),
        "drain_timeout": configuration.drain_timeout,
        "retry_ratio": configuration.retry_ratio,
        "tenants": dict(configuration.tenants),
        "limits": {
            name: {
                "shared_by": _sharers(configuration, name),
                "paces": _paces(name, limit),
            }
            for name, limit in configuration.limits.items()
        },
        "providers": {
            name: _provider(name, configured, providers[name])
            for name, configured in configuration.providers.items()
        },
        "warnings": list(doubts(configuration, providers)),
    }


def _provider(
    name: str, configured: ConfiguredProvider, provider: Provider
) -> dict[str, Any]:
    # Those of the provider: it may have found more than it was given.
    settings = provider.settings
    return {
        "kind": configured.kind,
        "model": settings.model,
        "base_url": (url := getattr(settings, "base_url", None)) and shown_url(url),
        "key": configured.key_origin,
        "shares": settings.limits,
        "paces": {} if settings.limits else _paces(name, settings),
        "workers": settings.workers,
        "queue_size": settings.queue_size,
        "timeouts": {
            "attempt": settings.timeout,
            "connect": getattr(settings, "connect_timeout", None),
            "first_token": settings.first_token_timeout,
            "idle": settings.idle_timeout,
        },
        "retries": {
            "max_retries": settings.max_retries,
            "retry_delay": settings.retry_delay,
            "backoff_factor": settings.backoff_factor,
            "max_retry_delay": settings.max_retry_delay,
            "max_retry_after": settings.max_retry_after,
        },
        "breaker": settings.breaker.model_dump(),
        "parameters": dict(getattr(settings, "defaults", {})),
    }


def _paces(name: str, limit: LimitSettings) -> dict[str, dict[str, float]]:
    # A fresh bucket tells by itself what it would allow.
    return {
        dimension: {
            "per_minute": level.limit,
            "at_once": level.available,
            "per_second": level.rate,
        }
        for dimension, level in Limit(name, limit).bucket.levels(0.0).items()
    }


def _sharers(configuration: Configuration, limit: str) -> list[str]:
    return [
        name
        for name, configured in configuration.providers.items()
        if configured.settings.limits == limit
    ]


def doubts(
    configuration: Configuration, providers: Mapping[str, Provider]
) -> Iterator[str]:
    """
    Yield what is allowed and yet probably not meant.

    Args:
        configuration: What is doubted.
        providers: The providers made of it, by name.
    """
    for name, limit in configuration.limits.items():
        if not _sharers(configuration, name):
            yield f"[limits.{name}] is used by no provider"
        if not _paces(name, limit):
            yield f"[limits.{name}] sets no limit"
    yield from _same_account(configuration)
    for name, provider in providers.items():
        settings = provider.settings
        own = (
            *_unknown_model(name, provider),
            *_in_the_clear(configuration.providers[name], settings),
            *_never(settings),
            *_long_queue(configuration, name, settings),
        )
        for doubt in (*own, *provider.check()):
            yield f"[providers.{name}] {doubt}"


def _unknown_model(name: str, provider: Provider) -> Iterator[str]:
    """Yield whether the vendor's own models are known, and this is none of them."""
    model, vendor = provider.settings.model, getattr(provider, "vendor", None)
    address = getattr(provider.settings, "base_url", None)
    if not (model and vendor and address == getattr(provider, "home", None)):
        return
    rules = {**rules_of(vendor), **getattr(provider.settings, "rules", {})}
    # One that was tuned is named after the one that it was made of.
    base = model.split(":")[1] if model.startswith("ft:") else model
    if any(covers(rule, base) for rule in rules):
        return
    # The list of prices knows more names, and newer ones.
    if Prices({name: str(address)}).price(name, base, Usage(1, 1)) is not None:
        return
    near = difflib.get_close_matches(model, rules, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    yield (
        f"'model' = {model!r} is none that is known of {vendor}{hint} "
        f"(--live asks whether it is there)"
    )


def _same_account(configuration: Configuration) -> Iterator[str]:
    """Yield who share a key but not its limits."""
    first: dict[object, str] = {}
    for name, configured in configuration.providers.items():
        settings = configured.settings
        key = getattr(settings, "api_key", None)
        if key is None or settings.limits or not _paces(name, settings):
            continue
        account = (configured.kind, key, getattr(settings, "base_url", None))
        other = first.setdefault(account, name)
        if other != name:
            yield (
                f"[providers.{name}] has the key of '{other}' and limits of its own: "
                f"a vendor who counts them together needs one 'limits' for both"
            )


def _in_the_clear(
    configured: ConfiguredProvider, settings: ProviderSettings
) -> Iterator[str]:
    url = urllib.parse.urlsplit(getattr(settings, "base_url", None) or "")
    host = url.hostname or ""
    local = host in LOCAL or host.startswith("127.")
    if configured.key_origin and url.scheme == "http" and not local:
        yield f"the key travels unprotected to '{host}': its address is http"


def _never(settings: ProviderSettings) -> Iterator[str]:
    """Yield the time limits that another one always comes before."""
    for name in ("connect_timeout", "first_token_timeout", "idle_timeout"):
        seconds = getattr(settings, name, None)
        if seconds is not None and seconds > settings.timeout:
            yield (
                f"'{name}' ({seconds:g} s) is longer than 'timeout' "
                f"({settings.timeout:g} s), which ends the attempt before"
            )


def _long_queue(
    configuration: Configuration, name: str, settings: ProviderSettings
) -> Iterator[str]:
    limit = configuration.limits.get(settings.limits or "", settings)
    pace = _paces(name, limit).get("requests")
    if pace and settings.queue_size > LONG_QUEUE * pace["per_second"]:
        hours = settings.queue_size / pace["per_second"] / 3_600
        yield (
            f"'queue_size' ({settings.queue_size}) is {hours:.1f} hours of work at "
            f"{pace['per_minute']:g} requests a minute"
        )
