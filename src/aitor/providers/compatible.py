"""
Whoever speaks OpenAI's language at another address.

Ollama, vLLM, llama.cpp, OpenRouter, LM Studio, Azure and many more. What a model there
takes cannot be told by its name, so no built-in rule applies: everything is sent as it
was asked for, and what is refused is learned. Rules can be given.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import field_validator

from aitor.errors import ConfigurationError
from aitor.providers.openai import OpenAIProvider, OpenAISettings

__all__ = ("CompatibleProvider", "CompatibleSettings")

AZURE = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
ENDPOINTS = ("/chat/completions", "/responses")


class CompatibleSettings(OpenAISettings):
    """
    What such a server takes besides.

    Args:
        base_url: Where the API is, required. An address alone gets the usual path:
            `http://localhost:11434` means `http://localhost:11434/v1`, and an Azure
            resource gets `/openai/v1`. An address with a path is taken as it is,
            without a trailing `/chat/completions`.
        api_key: The key, if there is one.
        key_header: Where the key goes. By default `api-key` for Azure, and elsewhere
            `authorization`, as a bearer token.
    """

    key_header: Literal["authorization", "api-key"] | None = None

    @field_validator("base_url")
    @classmethod
    def _path_is_whole(cls, url: str | None) -> str | None:
        if url is None:
            return None
        for endpoint in ENDPOINTS:
            url = url.removesuffix(endpoint)
        if urlsplit(url).path.strip("/"):
            return url
        return f"{url}/openai/v1" if _is_azure(url) else f"{url}/v1"


class CompatibleProvider(OpenAIProvider):
    """
    A model behind any address that speaks OpenAI's language.

    Without a `base_url` both address and key come from `CUSTOM_LLM_BASE_URL` and
    `CUSTOM_LLM_API_KEY`: a key from the environment is never sent to an address that
    was given elsewhere.

    Args:
        client: An SDK client to send with, such as `AsyncAzureOpenAI`.
        settings: The keys of `CompatibleSettings`.

    Raises:
        ConfigurationError: Naming key, value and what was expected.
    """

    kind = "compatible"
    Settings = CompatibleSettings
    settings: CompatibleSettings
    home = None
    vendor = None
    variables: ClassVar[Mapping[str, str]] = {
        "base_url": "CUSTOM_LLM_BASE_URL",
        "api_key": "CUSTOM_LLM_API_KEY",
    }
    headers_variable = None

    def _completed(self, client: Any, settings: dict[str, Any]) -> dict[str, Any]:
        completed = super()._completed(client, settings)
        if "base_url" not in completed:
            raise ConfigurationError(
                "where is the server? Set 'base_url', or the environment variable "
                "CUSTOM_LLM_BASE_URL"
            )
        return completed

    def _found(self, given: Mapping[str, Any]) -> dict[str, str]:
        return {} if "base_url" in given else super()._found(given)

    def _authorization(self) -> dict[str, str]:
        key = self.settings.api_key
        if key is None:
            return {}
        header = self.settings.key_header
        if header == "api-key" or (
            header is None and _is_azure(self.settings.base_url)
        ):
            return {"api-key": key.get_secret_value()}
        return {"authorization": f"Bearer {key.get_secret_value()}"}


def _is_azure(url: str | None) -> bool:
    return (urlsplit(url or "").hostname or "").endswith(AZURE)
