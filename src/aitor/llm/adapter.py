"""
An `LLMProvider` as the broker wants it.

To the broker it is a provider like any other; to the class it is a caller that passes
messages of its own, which may be changed, and understands whatever is raised.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from aitor.errors import LLMError
from aitor.llm.failures import FAULTS, explain
from aitor.llm.provider import LLMProvider
from aitor.llm.response import Response, text_in
from aitor.messages import Answer, Request, Usage
from aitor.providers.base import CHARACTERS_A_TOKEN, Progress, Provider
from aitor.providers.concealed import concealed
from aitor.providers.settings import SECRETS, ProviderSettings

__all__ = ("CustomProvider",)


class CustomSettings(ProviderSettings):
    """
    What the broker takes from the configuration of a provider of one's own.

    Args:
        base_url: Where it is, for its answers' place in a cache.
        defaults: What else was configured, for the same.
    """

    base_url: str | None = None
    # Whatever a class of one's own calls its key.
    defaults: Mapping[str, Any] = Field(default_factory=dict, repr=False)


class CustomProvider(Provider):
    """
    Asks an `LLMProvider`.

    Args:
        provider: Whom to ask.
        config: Its configuration. Of its keys those that every provider has
            (`workers`, `timeout`, `max_retries`, limits, …) are meant for the broker.

    Raises:
        ConfigurationError: If one of these is wrong.
    """

    kind = "custom"
    Settings: ClassVar[type[ProviderSettings]] = CustomSettings

    def __init__(
        self, provider: LLMProvider, config: Mapping[str, Any] | None = None
    ) -> None:
        config = concealed(config or {})
        actors = ProviderSettings.model_fields
        url = config.get("base_url")
        super().__init__(
            **{name: value for name, value in config.items() if name in actors},
            base_url=url if isinstance(url, str) else None,
            defaults={"class": type(provider).__qualname__, **_plain(config)},
        )
        self.provider = provider
        provider.connections = max(provider.connections, self.settings.workers)

    async def complete(self, request: Request, progress: Progress) -> Answer:
        """Have *request* answered; see `Provider`."""
        parameters = dict(request.parameters)
        if request.model is not None:
            parameters["model"] = request.model
        messages = [_copy(message) for message in request.messages]
        try:
            said: Any = await self.provider.generate_response(messages, **parameters)
        except (LLMError, *FAULTS):
            raise
        except Exception as error:  # noqa: BLE001  # whatever its code does
            name = type(self.provider).__name__
            failure = explain(error, name, self.settings.max_retry_after)
        else:
            progress()
            return self._answer(request, said)
        # Outside the handler, so that the original is not its context.
        raise failure

    def _answer(self, request: Request, said: Any) -> Answer:
        if isinstance(said, Answer):
            return said
        text = str(text_in(said, self.provider))
        message = {"role": "assistant", "content": text}
        if isinstance(said, Response):
            reply = said.reply
            return Answer(
                text,
                reply.model,
                reply.finish_reason,
                reply.usage,
                body=reply.body,
                message=reply.message or message,
            )
        usage = Usage(
            round(self.guess_input(request)),
            len(text) // CHARACTERS_A_TOKEN + 1,
            estimated=True,
        )
        model = self.model_of(request) or self.name
        return Answer(text, model, "stop", usage, message=message)

    async def aclose(self) -> None:
        """Close the connections of the class's own client."""
        await self.provider.aclose()

    def __repr__(self) -> str:
        return f"CustomProvider({type(self.provider).__name__})"


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(each) for each in value]
    return value


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain values in *config*, without secrets and the broker's keys."""
    return {
        str(name): value
        for name, value in config.items()
        if isinstance(value, str | int | float | bool)
        and name not in SECRETS
        and name not in ProviderSettings.model_fields
    }
