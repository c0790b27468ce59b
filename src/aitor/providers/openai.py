"""
OpenAI: Chat Completions, and the Responses API where a model asks for it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from aitor.errors import ConfigurationError
from aitor.providers.dialect import Dialect
from aitor.providers.http import HTTPProvider
from aitor.providers.openai_chat import CHAT
from aitor.providers.openai_responses import RESPONSES
from aitor.providers.rules import Rule
from aitor.providers.settings import HeaderValue, HTTPSettings

__all__ = ("OpenAIProvider", "OpenAISettings")


class OpenAISettings(HTTPSettings):
    """
    What OpenAI takes besides.

    Args:
        organization: Whose requests these are, for a key of several organizations.
        project: Likewise the project.
        api: Which API to use. With `auto` the Responses API is used by models that
            are reached only there, or take tools only there.
    """

    organization: HeaderValue | None = None
    project: HeaderValue | None = None
    api: Literal["auto", "chat", "responses"] = "auto"


class OpenAIProvider(HTTPProvider):
    """
    A model of OpenAI.

    Settings that are not given come from `OPENAI_API_KEY`, `OPENAI_BASE_URL`,
    `OPENAI_ORG_ID`, `OPENAI_PROJECT_ID` and `OPENAI_CUSTOM_HEADERS`, as with OpenAI's
    own SDK.

    Args:
        client: An `AsyncOpenAI`, or its kin for other clouds, to send with.
        settings: The keys of `OpenAISettings`.

    Raises:
        ConfigurationError: Naming key, value and what was expected.
    """

    kind = "openai"
    Settings = OpenAISettings
    settings: OpenAISettings
    home: ClassVar[str | None] = "https://api.openai.com/v1"
    vendor: ClassVar[str | None] = "openai"
    variables: ClassVar[Mapping[str, str]] = {
        "api_key": "OPENAI_API_KEY",
        "base_url": "OPENAI_BASE_URL",
        "organization": "OPENAI_ORG_ID",
        "project": "OPENAI_PROJECT_ID",
    }
    headers_variable: ClassVar[str | None] = "OPENAI_CUSTOM_HEADERS"

    def headers(self) -> dict[str, str]:
        """Return the headers that say who asks; see `HTTPProvider`."""
        headers = self._authorization()
        if self.settings.organization:
            headers["openai-organization"] = self.settings.organization
        if self.settings.project:
            headers["openai-project"] = self.settings.project
        return headers

    def _authorization(self) -> dict[str, str]:
        key = self.settings.api_key
        if key is not None:
            return {"authorization": f"Bearer {key.get_secret_value()}"}
        if "authorization" in self.settings.headers:
            return {}
        raise ConfigurationError(
            "no key for OpenAI: set 'api_key', or the environment variable "
            "OPENAI_API_KEY"
        )

    def dialect(self, rule: Rule, parameters: Mapping[str, Any]) -> Dialect:
        """Return the dialect in which a model with *rule* is asked."""
        api = self.settings.api
        if api == "auto":
            api = rule.api
            if parameters.get("tools") and rule.tools != "chat":
                silent = parameters.get("reasoning_effort") == "none"
                takes = rule.tools == "effort-none" and silent
                api = "chat" if takes else "responses"
        return RESPONSES if api == "responses" else CHAT

    def sdk_client(self, **options: Any) -> Any:
        """Return a new `AsyncOpenAI`, made of the settings."""
        from openai import AsyncOpenAI

        key = self.settings.api_key
        return AsyncOpenAI(
            # An empty key would be looked up; a header that is set wins over both.
            api_key="none" if key is None else key.get_secret_value(),
            organization=self.settings.organization,
            project=self.settings.project,
            **options,
        )
