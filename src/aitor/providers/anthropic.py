"""
Anthropic: the Messages API.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, field_validator, model_validator

from aitor.errors import ConfigurationError
from aitor.providers.anthropic_messages import MESSAGES
from aitor.providers.dialect import Dialect
from aitor.providers.http import HTTPProvider
from aitor.providers.rules import Rule
from aitor.providers.settings import HTTPSettings, sendable_key

__all__ = ("AnthropicProvider", "AnthropicSettings")

CREDENTIALS = ("api_key", "auth_token")


class AnthropicSettings(HTTPSettings):
    """
    What Anthropic takes besides.

    Args:
        auth_token: A bearer token instead of a key; `env:NAME` reads it from the
            environment.
        version: The API version. Sampling parameters are taken by models up to
            Claude 4.6, and only under `2023-06-01`.
    """

    auth_token: SecretStr | None = None
    version: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] = "2026-10-21"

    @field_validator("auth_token")
    @classmethod
    def _token_is_sendable(cls, token: SecretStr | None) -> SecretStr | None:
        return sendable_key(token)

    @model_validator(mode="after")
    def _one_secret(self) -> "AnthropicSettings":
        if self.api_key is not None and self.auth_token is not None:
            raise ValueError("'api_key' and 'auth_token' are both given: give one")
        return self


class AnthropicProvider(HTTPProvider):
    """
    A model of Anthropic.

    Settings that are not given come from `ANTHROPIC_API_KEY` (or else
    `ANTHROPIC_AUTH_TOKEN`), `ANTHROPIC_BASE_URL` and `ANTHROPIC_CUSTOM_HEADERS`, as
    with Anthropic's own SDK. An answer is limited to 8,192 tokens when nobody says
    otherwise, for the API insists on a limit.

    Args:
        client: An `AsyncAnthropic`, or its kin for other clouds, to send with.
        settings: The keys of `AnthropicSettings`.

    Raises:
        ConfigurationError: Naming key, value and what was expected.
    """

    kind = "anthropic"
    Settings = AnthropicSettings
    settings: AnthropicSettings
    home = "https://api.anthropic.com"
    vendor = "anthropic"
    variables: ClassVar[Mapping[str, str]] = {
        "api_key": "ANTHROPIC_API_KEY",
        "auth_token": "ANTHROPIC_AUTH_TOKEN",
        "base_url": "ANTHROPIC_BASE_URL",
    }
    headers_variable = "ANTHROPIC_CUSTOM_HEADERS"
    usual_output_limit = 8_192

    def _found(self, given: Mapping[str, Any]) -> dict[str, str]:
        found = super()._found(given)
        # One secret is enough: what is given, or else a key before a token.
        if any(name in given for name in CREDENTIALS):
            found = {k: v for k, v in found.items() if k not in CREDENTIALS}
        elif "api_key" in found:
            found.pop("auth_token", None)
        return found

    @property
    def version(self) -> str | None:
        """The API version that is asked for."""
        return self.settings.version

    def headers(self) -> dict[str, str]:
        """Return the headers that say who asks; see `HTTPProvider`."""
        version = {"anthropic-version": self.settings.version}
        secret = self.settings.api_key or self.settings.auth_token
        if secret is not None:
            return {"authorization": f"Bearer {secret.get_secret_value()}", **version}
        if {"authorization", "x-api-key"} & self.settings.headers.keys():
            return version
        raise ConfigurationError(
            "no key for Anthropic: set 'api_key', or the environment variable "
            "ANTHROPIC_API_KEY"
        )

    def dialect(self, rule: Rule, parameters: Mapping[str, Any]) -> Dialect:
        """Return the one dialect that there is."""
        return MESSAGES

    def sdk_client(self, **options: Any) -> Any:
        """Return a new `AsyncAnthropic`, made of the settings."""
        from anthropic import AsyncAnthropic

        secrets = {
            name: secret.get_secret_value()
            for name in CREDENTIALS
            if (secret := getattr(self.settings, name)) is not None
        }
        headers = {"anthropic-version": self.settings.version}
        headers.update(options.pop("default_headers"))
        return AsyncAnthropic(**secrets, default_headers=headers, **options)
