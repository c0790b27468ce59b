"""
An agent: a model that reasons and acts in turns until it has an answer.

The agent holds a conversation and nothing else. Queueing, limits, retries and
failover belong to the broker behind it, so an error that reaches the caller of
`solve` is the broker's own and final. A tool runs only when a whole answer is there,
after everything the broker does to get it: a failover never runs one twice.
"""

import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import anyio

from aitor.agents.protocol import GO_ON, Call, Said, as_text, instructions
from aitor.agents.sources import (
    Manager,
    Protocols,
    Source,
    calls_tools,
    check_protocol,
    learn_refusals,
    names_in,
    providers_asked,
)
from aitor.agents.tools import Observation, Tool, by_name
from aitor.agents.trace import (
    Step,
    StepsExceededError,
    ToolCall,
    UnfinishedAnswerError,
)
from aitor.agents.turns import ENDINGS, messages_of, read_reply, trouble_with
from aitor.broker.broker import Broker
from aitor.errors import ConfigurationError, LLMError
from aitor.messages import Message, Reply

__all__ = ("ReactAgent", "create_react_agent")

SYSTEM_PROMPT = (
    "Solve the user's problem step by step. Use the tools where they help, and answer "
    "as soon as you can."
)

NOT_RUN = Observation.error("not run: this was the last step")


class ReactAgent:
    """
    Solves problems with a model and tools.

    A model that has tool calls of its own is asked to use them. Others, the mock
    among them, are told a protocol in plain text; see `aitor.agents.protocol`. So is
    a model whose server refuses tools, from then on; or whoever *protocol* names. A
    question is put in the way of the provider that gave the last answer, the first
    one in the way of the provider that is asked first; and where the failover
    sequence has providers of both sorts, both ways are explained.

    Several problems may be solved at once; each begins with what is remembered then.

    Args:
        name: What the agent is called.
        llm_manager: Whom to ask; or
        broker: whom to ask, without a manager.
        llm_provider: The provider to begin with; by default the first of the
            failover sequence.
        tools: Functions, or `Tool`s.
        max_reasoning_steps: Most answers of the model for one problem.
        system_prompt: What the model is told first; by default a word or two.
        memory_size: Most problems remembered with all that was said; the oldest is
            forgotten first.
        protocol: How tools are called: `tools`, in the vendor's API, or `text`; or a
            mapping of these by provider. By default as each provider can.
        parameters: For each request, as `Broker.submit` takes them: `temperature`,
            `timeout`, `tenant`, ….

    Raises:
        ConfigurationError: If an argument makes no sense.
    """

    def __init__(
        self,
        name: str,
        llm_manager: Manager | None = None,
        *,
        broker: Broker | None = None,
        llm_provider: str | None = None,
        tools: Sequence[Tool | Callable[..., Any]] = (),
        max_reasoning_steps: int = 10,
        system_prompt: str | None = None,
        memory_size: int = 20,
        protocol: Protocols = None,
        **parameters: Any,
    ) -> None:
        source: Source | None = llm_manager if broker is None else broker
        if source is None or (llm_manager is not None and broker is not None):
            raise ConfigurationError(
                "an agent needs 'llm_manager' or 'broker', one of the two"
            )
        if max_reasoning_steps < 1:
            raise ConfigurationError(
                f"'max_reasoning_steps' must be at least 1, not {max_reasoning_steps}"
            )
        if memory_size < 0:
            raise ConfigurationError(
                f"'memory_size' must be at least 0, not {memory_size}"
            )
        if parameters.keys() & {"provider", "prompt"}:
            raise ConfigurationError(
                "an agent has 'llm_provider' for 'provider', and its prompt is what "
                "'solve' is given"
            )
        check_protocol(protocol, names_in(source))
        self.name = name
        self._protocol = protocol
        self.tools: Mapping[str, Tool] = by_name(tools)
        self.max_reasoning_steps = max_reasoning_steps
        self._source = source
        self._system_prompt = system_prompt or SYSTEM_PROMPT
        self._parameters = parameters
        self._memory: deque[tuple[Message, ...]] = deque(maxlen=memory_size)
        self._trace: list[Step] = []
        self._ids = itertools.count(1)
        self._owned: Broker | None = None
        self._provider: str | None = None
        if llm_provider is not None:
            self.set_llm_provider(llm_provider)

    # Settings and state.

    @property
    def llm_provider(self) -> str | None:
        """The provider that the next `solve` begins with; None for the default."""
        return self._provider

    def set_llm_provider(self, name: str) -> None:
        """
        Begin with the provider *name* from the next `solve` on, in this agent alone.

        Raises:
            ConfigurationError: If there is none of that name; then nothing changes.
        """
        known = names_in(self._source)
        if name not in known:
            raise ConfigurationError(
                f"agent {self.name!r}: there is no provider {name!r}; "
                f"there are: {', '.join(known) or 'none'}"
            )
        self._provider = name

    @property
    def memory(self) -> tuple[Message, ...]:
        """The conversation so far, of the problems that were solved."""
        return tuple(itertools.chain.from_iterable(self._memory))

    @property
    def trace(self) -> tuple[Step, ...]:
        """The steps of the latest `solve`, also while it runs and if it failed."""
        return tuple(self._trace)

    def reset(self) -> None:
        """Forget the conversation and the trace."""
        self._memory.clear()
        self._trace = []

    # Solving.

    async def solve(self, problem: str) -> str:
        """
        Return the model's answer to *problem*.

        A `solve` that fails or is cancelled is not remembered.

        Raises:
            StepsExceededError: After `max_reasoning_steps` without an answer.
            UnfinishedAnswerError: The answer was cut off, filtered, declined or empty.
            LLMError: As the broker's `submit` raises it.
        """
        provider, history = self._provider, self.memory
        trace = self._trace = []
        exchange: list[Message] = [{"role": "user", "content": problem}]
        last: str | None = None
        for left in reversed(range(self.max_reasoning_steps)):
            begin = anyio.current_time()
            reply, said = await self._ask(provider, last, (*history, *exchange))
            last = reply.provider
            if _repeats(said, trace):
                said = Said(answer=said.thought)
            calls = await self._call_tools(said.calls, run=left > 0)
            seconds = anyio.current_time() - begin
            thought = "\n".join(filter(None, (said.hidden, said.thought)))
            trace.append(Step(reply.provider, thought, calls, said.answer, seconds))
            if trouble := trouble_with(reply, said):
                raise self._unfinished(trouble, reply, said)
            results = [call.observation for call in calls]
            exchange += messages_of(reply, said, results, self._ids)
            if said.answer is not None:
                self._memory.append(tuple(exchange))
                return said.answer
        raise StepsExceededError(
            f"agent {self.name!r} has no answer after {self.max_reasoning_steps} "
            f"steps: see 'max_reasoning_steps'",
            trace=tuple(trace),
        )

    def _unfinished(
        self, trouble: str, reply: Reply, said: Said
    ) -> UnfinishedAnswerError:
        reason = reply.finish_reason if reply.finish_reason in ENDINGS else "empty"
        return UnfinishedAnswerError(
            f"agent {self.name!r} has no whole answer: {trouble}",
            reason=reason,
            text=said.answer or "",
            trace=self.trace,
            provider=reply.provider,
            request_id=reply.request_id,
            attempts=reply.attempts,
        )

    async def _ask(
        self, provider: str | None, last: str | None, messages: Sequence[Message]
    ) -> tuple[Reply, Said]:
        """
        Ask once.

        Args:
            provider: Whom to begin with.
            last: Who gave the answer before.
            messages: The conversation.
        """
        asked = providers_asked(self._source, provider)
        known = (asked, self._parameters.get("model"), self._protocol)
        while True:
            able = calls_tools(*known)
            with_tools = bool(self.tools) and any(able.values())
            try:
                reply, said = await self._ask_as(able, provider, last, messages)
            except LLMError as error:
                if not with_tools or not learn_refusals(error, *known):
                    raise
            else:
                if with_tools:
                    learn_refusals(reply, *known)
                return reply, said

    async def _ask_as(
        self,
        able: Mapping[str, bool],
        provider: str | None,
        last: str | None,
        messages: Sequence[Message],
    ) -> tuple[Reply, Said]:
        first = next(iter(able.values()))
        native = able.get(last, first) if last else first
        system = self._system_prompt
        if self.tools and not all(able.values()):
            told = instructions(self.tools.values(), only=not native)
            system = f"{system}\n\n{told}"
        parameters = self._parameters
        if native and self.tools:
            definitions = [tool.definition() for tool in self.tools.values()]
            parameters = {**parameters, "tools": definitions}
        spoken = messages if native else as_text(messages)
        reply = await self._source.submit(
            [{"role": "system", "content": system}, *spoken],
            provider=provider,
            **parameters,
        )
        text = not native or not able.get(reply.provider, False)
        return reply, read_reply(reply, self.tools, text=text)

    # Tools.

    async def _call_tools(
        self, calls: Sequence[Call], *, run: bool
    ) -> tuple[ToolCall, ...]:
        """Return what became of *calls*, in their order; they run side by side."""
        done: dict[int, ToolCall] = {}

        async def call_one(number: int, call: Call) -> None:
            begin = anyio.current_time()
            # Nobody would read what a tool says after the last answer.
            observation = await self._observe(call) if run else NOT_RUN
            done[number] = ToolCall(
                call.name,
                call.arguments,
                observation.text,
                observation.failed,
                anyio.current_time() - begin,
            )

        async with anyio.create_task_group() as tasks:
            for number, call in enumerate(calls):
                tasks.start_soon(call_one, number, call)
        return tuple(done[number] for number in range(len(calls)))

    async def _observe(self, call: Call) -> Observation:
        if call.name not in self.tools:
            known = ", ".join(self.tools) or "none"
            return Observation.error(f"there is no tool '{call.name}'; tools: {known}")
        if call.problem:
            return Observation.error(call.problem)
        return await self.tools[call.name].observe(call.arguments)

    # Closing.

    async def aclose(self) -> None:
        """Close what `create_react_agent` opened; a manager or broker stays open."""
        if self._owned is not None:
            await self._owned.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name!r}, llm_provider={self._provider!r}, "
            f"tools=[{', '.join(self.tools)}], remembered={len(self._memory)})"
        )


def _repeats(said: Said, trace: Sequence[Step]) -> bool:
    """
    Return whether a model only thinks, and the same as before.

    Then nothing more will come: the thought is its answer.
    """
    if said.correction != GO_ON or not said.thought or not trace:
        return False
    return not trace[-1].calls and trace[-1].thought == said.thought


async def create_react_agent(
    name: str,
    llm_provider: str | None = None,
    llm_config: Mapping[str, Any] | None = None,
    llm_manager: Manager | None = None,
    tools: Sequence[Tool | Callable[..., Any]] = (),
    max_reasoning_steps: int = 10,
    **more: Any,
) -> ReactAgent:
    """
    Make an agent, with the broker that it needs if it is given none.

    Args:
        name: What the agent is called.
        llm_provider: With a manager the name of one of its providers; without, a
            kind: `openai`, `anthropic`, `compatible`, `mock`, or any name if
            *llm_config* has the kind as `kind`.
        llm_config: The provider's settings, without a manager.
        llm_manager: Whom to ask.
        tools: As for `ReactAgent`, like the rest.
        max_reasoning_steps: Most answers of the model for one problem.
        more: As for `ReactAgent`.

    Raises:
        ConfigurationError: If an argument makes no sense.
    """
    broker: Broker | None = more.pop("broker", None)
    owned = None
    if llm_manager is None and broker is None:
        broker = owned = _broker_for(name, llm_provider, llm_config)
    elif llm_config is not None:
        raise ConfigurationError(
            f"agent {name!r}: 'llm_config' makes a provider and 'llm_manager' or "
            f"'broker' has its own: give one"
        )
    agent = ReactAgent(
        name,
        llm_manager,
        broker=broker,
        llm_provider=llm_provider,
        tools=tools,
        max_reasoning_steps=max_reasoning_steps,
        **more,
    )
    agent._owned = owned
    return agent


def _broker_for(
    agent: str, provider: str | None, config: Mapping[str, Any] | None
) -> Broker:
    if provider is None:
        raise ConfigurationError(
            f"agent {agent!r} needs 'llm_manager', or 'llm_provider' with 'llm_config'"
        )
    return Broker.from_config({"providers": {provider: dict(config or {})}})
