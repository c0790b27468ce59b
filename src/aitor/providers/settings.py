"""
The settings of a provider and of the actor in front of it.

One definition serves the keyword arguments in Python, the tables of a file and
the guide's dictionaries alike, so a key means the same everywhere and a mistake
gets the same error everywhere: it names the key, the value and what was expected,
and for an unknown key the nearest known one.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from aitor.errors import ConfigurationError
from aitor.providers.concealed import concealed, revealed
from aitor.wire.address import FRAMING, NAME, Address, shown_url

__all__ = (
    "OUTPUT_LIMITS",
    "Amount",
    "BreakerSettings",
    "Count",
    "HTTPSettings",
    "HeaderValue",
    "Number",
    "ProviderSettings",
    "Settings",
    "answering",
    "load",
    "sendable_headers",
    "sendable_key",
)


def _no_truth(value: Any) -> Any:
    # Python takes True for 1, but `workers = true` is no number of workers.
    if isinstance(value, bool):
        raise ValueError("a number was expected")  # noqa: TRY004  # pydantic's way
    return value


Count = Annotated[int, Field(ge=1), BeforeValidator(_no_truth)]
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_no_truth)]
Amount = Annotated[Number, Field(ge=0)]
Seconds = Annotated[Number, Field(gt=0)]
PerMinute = Annotated[Number, Field(gt=0)]


def _sendable(text: str, whose: str = "") -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{whose}has a line break or a character outside ASCII")
    return text


COUNT: TypeAdapter[int] = TypeAdapter(Count)
HeaderValue = Annotated[str, AfterValidator(_sendable)]


class Settings(BaseModel):
    """Settings that are checked, frozen, and refuse keys they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BreakerSettings(Settings):
    """
    When a provider is cut off, and for how long.

    Args:
        failures: Failures in a row that open the circuit, at least.
        failing_seconds: For how long nothing got through by then, at least; eight
            times as many failures open it sooner.
        first_open_seconds: How long it stays open before a probe is let through; twice
            as long each time the probe fails.
        open_seconds: How long at most.
        probes: Probes in flight at once while it is half-open.
        probe_seconds: A probe that has not ended by then gives its place to another.
        dead_seconds: How long it stays open for a dead key or an exhausted account.
    """

    failures: Count = 20
    failing_seconds: Amount = 2.0
    first_open_seconds: Seconds = 1.0
    open_seconds: Seconds = 30.0
    probes: Count = 1
    probe_seconds: Seconds = 60.0
    dead_seconds: Seconds = 300.0


class LimitSettings(Settings):
    """
    What an account may use in any minute; a key that is absent is no limit.

    Args:
        requests_per_minute: Requests.
        tokens_per_minute: Tokens, input and output together.
        input_tokens_per_minute: Tokens in.
        output_tokens_per_minute: Tokens out.
        burst: The share of a minute's limit that may go out at once.
    """

    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None
    input_tokens_per_minute: PerMinute | None = None
    output_tokens_per_minute: PerMinute | None = None
    burst: Annotated[Number, Field(gt=0, le=0.5)] = 0.01


class ProviderSettings(LimitSettings):
    """
    What every provider's actor takes.

    Args:
        model: The model to ask when a request names none.
        limits: Name of a limit shared with others, instead of the keys
            `…_per_minute`.
        workers: Most calls in flight; fewer go where the provider has no room for them.
        queue_size: Most requests that wait.
        max_queue_wait: A request waits for this provider for so many seconds, rather
            than go to the next one in the sequence that can start it sooner.
        timeout: Seconds for one attempt, from send to the answer's end.
        first_token_timeout: Seconds until the first content comes.
        idle_timeout: Seconds between two pieces of content.
        max_retries: More tries at this provider after the first, for one request. By
            default 3 for a request that has no deadline, and as many as its time
            allows for one that has, or that waits (`when_unavailable`).
        retry_delay: Seconds before the first of them, at most (full jitter).
        backoff_factor: Each further one waits that many times longer.
        max_retry_delay: The longest wait of our own between two tries.
        max_retry_after: The longest pause that a server may impose.
        breaker: When this provider is cut off.
    """

    model: str | None = None
    limits: str | None = None
    workers: Count = 64
    queue_size: Count = 1_000
    max_queue_wait: Annotated[float, Field(ge=0), BeforeValidator(_no_truth)] = 0.0
    timeout: Seconds = 60.0
    first_token_timeout: Seconds | None = None
    idle_timeout: Seconds | None = None
    max_retries: Annotated[int, Field(ge=0), BeforeValidator(_no_truth)] | None = None
    retry_delay: Amount = 0.5
    backoff_factor: Annotated[Number, Field(ge=1)] = 2.0
    max_retry_delay: Seconds = 8.0
    max_retry_after: Seconds = 3_600.0
    breaker: BreakerSettings = BreakerSettings()

    @model_validator(mode="after")
    def _limits_in_one_place(self) -> "ProviderSettings":
        if self.limits is not None:
            for name in LimitSettings.model_fields:
                if name in self.model_fields_set:
                    raise ValueError(
                        f"'limits' names a shared limit, so '{name}' belongs in "
                        f"the table [limits.{self.limits}]"
                    )
        return self


class HTTPSettings(ProviderSettings):
    """
    What providers over HTTP take besides.

    Values are checked here and nowhere later: a key with a line break at its end, or
    a variable that is not set, is an error before anything is sent.

    Args:
        api_key: The key, or `env:NAME` to read it from the environment.
        base_url: Where the API is.
        headers: Sent with every request; a value may be `env:NAME` too.
        transport: Who carries bytes: `sockets`, `httpx2`, `sdk`, or `auto` for the
            first, and behind a proxy for the second.
        connect_timeout: Seconds to get a connection.
        connection_pool_size: Idle connections kept open; `workers` by default.
        connection_pool_maxsize: Most connections at once; `workers` by default. A
            call that waited inside the pool would use up its time limits there, so
            this lowers `workers`, and may not be less than `workers` if both are
            given.
        keep_alive: False closes a connection after each request.
        max_answer_bytes: An answer larger than this is dropped as malformed; of a
            stream what is kept of it counts.
        on_unsupported: What to do with a parameter that the model is known not to
            take: `drop` it (an event tells), `error`, or `pass` it on.
        rules: What models take, by the beginning of their names, over the built-in
            rules; the keys are those of `Rule`.
        parameters: Defaults for requests that do not say; any parameter of the API.
        temperature: A default too, as are the following.
    """

    api_key: SecretStr | None = None
    base_url: str | None = None
    headers: Mapping[str, str] = Field(default_factory=dict, repr=False)
    transport: Literal["auto", "sockets", "httpx2", "sdk"] = "auto"
    connect_timeout: Seconds = 10.0
    connection_pool_size: Count | None = None
    connection_pool_maxsize: Count | None = None
    keep_alive: bool = True
    max_answer_bytes: Count = 32 * 1024 * 1024
    on_unsupported: Literal["drop", "error", "pass"] = "drop"
    rules: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    parameters: Mapping[str, Any] = Field(default_factory=dict)

    temperature: Number | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    top_p: Number | None = None
    frequency_penalty: Number | None = None
    presence_penalty: Number | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_more_workers_than_connections(cls, values: Any) -> Any:
        if "workers" in values or values.get("connection_pool_maxsize") is None:
            return values
        try:
            most = COUNT.validate_python(values["connection_pool_maxsize"])
        except ValidationError:
            # Told where it was set.
            return values
        usual = cls.model_fields["workers"].default
        return {**values, "workers": min(most, usual)}

    @model_validator(mode="after")
    def _connections_for_workers(self) -> "HTTPSettings":
        most = self.connection_pool_maxsize
        if most is not None and most < self.workers:
            raise ValueError(
                f"'workers' = {self.workers}: calls would wait for one of the "
                f"'connection_pool_maxsize' = {most} connections; leave 'workers' "
                f"out, or give it as many connections"
            )
        return self

    @field_validator("api_key")
    @classmethod
    def _key_is_sendable(cls, key: SecretStr | None) -> SecretStr | None:
        return sendable_key(key)

    @field_validator("headers")
    @classmethod
    def _headers_are_sendable(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        return sendable_headers({k: _resolved(v) for k, v in headers.items()})

    @field_validator("base_url")
    @classmethod
    def _url_is_http(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not url.isprintable() or " " in url:
            raise ValueError("has a space or a line break (look at its ends)")
        if not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        if "?" in url or "#" in url:
            raise ValueError("must end with its path: paths are appended to it")
        if "@" in url:
            raise ValueError("must hold no password: put 'authorization' in 'headers'")
        if not _can_be_asked(url):
            raise ValueError("is no URL that can be asked")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _one_output_limit(self) -> "HTTPSettings":
        given = [name for name in OUTPUT_LIMITS if name in self.defaults]
        if len(given) > 1:
            raise ValueError(
                f"'{given[0]}' and '{given[1]}' both limit the answer: give one"
            )
        return self

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters that requests get unless they say otherwise."""
        named = {name: getattr(self, name) for name in NAMED_PARAMETERS}
        both = {**self.parameters, **{k: v for k, v in named.items() if v is not None}}
        return {name: value for name, value in both.items() if value is not None}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # Its path may have a key in it.
        for name, value in super().__repr_args__():
            yield name, shown_url(value) if name == "base_url" and value else value

    def __getstate__(self) -> NoReturn:
        # A pickle would hold the key in plain text.
        raise TypeError("settings with a key cannot be pickled: pickle where they are")


NAMED_PARAMETERS = (
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
)

ANSWER = {
    "model",
    "base_url",
    "on_unsupported",
    "rules",
    "parameters",
    *NAMED_PARAMETERS,
}
"""What can change an answer, of the settings that all share; all that one adds can."""

DELIVERY = {*ProviderSettings.model_fields, *HTTPSettings.model_fields} - ANSWER


def answering(settings: ProviderSettings) -> dict[str, Any]:
    """
    Return by name those of *settings* that can change an answer, in words of JSON.

    How requests travel is left out: the key, workers, limits, timeouts.
    """
    return settings.model_dump(
        mode="json",
        exclude=DELIVERY,
        exclude_defaults=True,
        fallback=lambda value: type(value).__qualname__,
    )


OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
"""Names that the limit of the answer's length has in one API or the other."""

SECRETS = frozenset({"api_key", "auth_token", "headers"})


def sendable_key(key: SecretStr | None) -> SecretStr | None:
    """
    Return *key*, read from the environment if it says so.

    Raises:
        ValueError: If it cannot be sent. A key with a line break would reach the
            texts of exceptions, key and all.
    """
    if key is None:
        return None
    text = _resolved(key.get_secret_value())
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(
            "is empty or has a space, a line break or a character outside ASCII "
            "(look at its ends)"
        )
    return SecretStr(text)


def sendable_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """
    Return *headers*, their names in lower case.

    Raises:
        ValueError: If one cannot be sent, with its name and without its value.
    """
    sent = {name.lower(): value for name, value in headers.items()}
    for name, value in sent.items():
        if not NAME.fullmatch(name.encode("utf-8", "replace")):
            # What follows a colon or a blank was meant as the value.
            first = re.split(r"[:\s]", name, maxsplit=1)[0]
            raise ValueError(f"{first!r} is no name of a header")
        if name in FRAMING:
            raise ValueError(f"'{name}' follows from the body and cannot be set")
        _sendable(value, f"the value of '{name}' ")
    return sent


def _can_be_asked(url: str) -> bool:
    try:
        Address.of(url)
    except ConfigurationError:
        return False
    return True


def _resolved(text: str) -> str:
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"the environment variable {name} is not set")
    return value


S = TypeVar("S", bound=Settings)


def load(model: type[S], values: Mapping[str, Any], where: str = "") -> S:
    """
    Check *values* against *model*.

    Args:
        model: The settings expected.
        values: Keys and values as a user wrote them.
        where: What to put before each key, such as a file and a table's name.

    Raises:
        ConfigurationError: Naming each wrong key with its value and what was
            expected.
    """
    values = concealed(values)
    try:
        return model.model_validate(revealed(values))
    except ValidationError as error:
        problems = [_explain(model, problem) for problem in error.errors()]
    # Outside the handler: pydantic's error quotes values, and a value may be a key.
    raise ConfigurationError("; ".join(where + problem for problem in problems))


def _explain(model: type[Settings], problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(
            str(problem["loc"][-1]), _keys(model, problem["loc"][:-1]), n=1
        )
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return f"unknown key '{path}'{hint}"
    message = problem["msg"].removeprefix("Value error, ")
    if not path:
        return str(message)
    # An address may have a password in it.
    if SECRETS.intersection(problem["loc"]) or "@" in str(problem["input"]):
        return f"'{path}': {message}"
    told = problem["input"]
    # Or a key in its path.
    if path.endswith("base_url") and type(told) is str:
        told = shown_url(told)
    return f"'{path}' = {told!r}: {message}"


def _keys(model: type[Settings], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, Settings)):
            return []
        model = kind
    return list(model.model_fields)
