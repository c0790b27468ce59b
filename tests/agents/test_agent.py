"""What a user of an agent sees, in virtual time: everything but the vendors' wire."""

import json
import pickle
from typing import Any

import anyio
import pytest

from aitor import Broker, ReactAgent, Tool, create_react_agent
from aitor.agents import Step, StepsExceededError, UnfinishedAnswerError
from aitor.errors import (
    AuthenticationError,
    BadRequestError,
    BrokerClosedError,
    ConfigurationError,
    ServerError,
)
from aitor.llm import LLMManager, LLMProvider
from aitor.messages import Answer, Usage
from aitor.outcomes import Outcome
from aitor.providers import MockProvider
from aitor.testing.scripted import ScriptedProvider, Slow

pytestmark = pytest.mark.anyio

GUIDE = {
    "responses": {
        "calculator": "ACT: calculator(expression='2+2')",
        "search": "ACT: google_web_search(query='test search')",
        "default": "THINK: I need to analyze this problem step by step.",
    },
    "default_response": "I understand. Let me help you with that.",
    "delay": 0.1,
}


class Calculator:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def calculator(self, expression: str) -> str:
        """Work out a sum."""
        self.asked.append(expression)
        return {"2+2": "4", "4*3": "12"}[expression]


def agent_with(*script: Any, **more: Any) -> tuple[ReactAgent, ScriptedProvider]:
    provider = ScriptedProvider(list(script), max_retries=0)
    return ReactAgent("A", broker=Broker([provider]), **more), provider


def last_said(provider: ScriptedProvider, number: int = -1) -> Any:
    return provider.sent[number].request.messages[-1]["content"]


def calling(
    *calls: tuple[Any, Any, Any], text: str = "", end: str = "tool_calls"
) -> Any:
    wanted = [
        {"id": name, "function": {"name": tool, "arguments": arguments}}
        for name, tool, arguments in calls
    ]
    message = {"role": "assistant", "content": text or None, "tool_calls": wanted}
    return Answer(text, "m", end, Usage(1, 1), message=message)


# Solving.


async def test_the_mock_drives_an_agent_through_the_text_protocol() -> None:
    config = {
        "responses": {
            "calculator": "THINK: sum\nACT: calculator(expression='2+2')",
            "observation: 4": "ANSWER: It is 4.",
        }
    }
    tools = Calculator()
    agent = await create_react_agent(
        name="A", llm_provider="mock", llm_config=config, tools=[tools.calculator]
    )
    assert await agent.solve("Use the calculator") == "It is 4."
    assert tools.asked == ["2+2"]
    first, second = agent.trace
    assert (first.provider, first.thought, first.answer) == ("mock", "sum", None)
    (call,) = first.calls
    assert (call.name, call.arguments) == ("calculator", {"expression": "2+2"})
    assert (call.observation, call.failed) == ("4", False)
    assert (second.answer, second.calls) == ("It is 4.", ())


async def test_the_guides_own_mock_comes_to_an_end() -> None:
    """It calls, thinks, and thinks the same again: that is all it has to say."""
    tools = Calculator()
    agent = await create_react_agent(
        name="A", llm_provider="mock", llm_config=GUIDE, tools=[tools.calculator]
    )
    answer = await agent.solve("Use the calculator")
    assert answer == "I need to analyze this problem step by step."
    assert tools.asked == ["2+2"]
    assert len(agent.trace) == 3
    assert sum(step.seconds for step in agent.trace) == pytest.approx(0.3)


async def test_a_plain_text_is_an_answer_and_no_tools_are_needed() -> None:
    agent, provider = agent_with("Hello!")
    assert await agent.solve("Say hello") == "Hello!"
    (sent,) = provider.sent
    assert [message["role"] for message in sent.request.messages] == ["system", "user"]
    assert "tools" not in sent.request.parameters


async def test_the_system_prompt_and_parameters_reach_every_request() -> None:
    agent, provider = agent_with(
        "ACT: f()", "done", system_prompt="Be brief.", temperature=0.5, tools=[]
    )
    await agent.solve("x")
    for sent in provider.sent:
        assert sent.request.messages[0]["content"] == "Be brief."
        assert sent.request.parameters == {"temperature": 0.5}


async def test_several_calls_in_one_turn_run_side_by_side_in_order() -> None:
    begun: list[str] = []

    async def wait(name: str, seconds: float) -> str:
        begun.append(name)
        await anyio.sleep(seconds)
        return f"{name} done"

    agent, provider = agent_with(
        "ACT: wait('slow', 9)\nACT: wait('fast', 1)", "ANSWER: ok", tools=[wait]
    )
    begin = anyio.current_time()
    assert await agent.solve("x") == "ok"
    assert anyio.current_time() - begin == pytest.approx(9)
    assert sorted(begun) == ["fast", "slow"]
    assert last_said(provider) == "OBSERVATION: slow done\nOBSERVATION: fast done"
    slow, fast = agent.trace[0].calls
    assert [slow.seconds, fast.seconds] == pytest.approx([9, 1])


async def test_unknown_tools_bad_arguments_and_exceptions_go_back_to_the_model() -> (
    None
):
    def broken(x: int) -> int:
        raise KeyError(x)

    agent, provider = agent_with(
        "ACT: nothing()\nACT: broken(x='?')\nACT: broken(x=y)\nACT: broken(7)",
        "ACT: broken(",
        "ok",
        tools=[broken],
    )
    assert await agent.solve("x") == "ok"
    told = [call.observation for call in agent.trace[0].calls]
    assert told == [
        "error: there is no tool 'nothing'; tools: broken",
        (
            "error: argument 'x': Input should be a valid integer, "
            "unable to parse string as an integer"
        ),
        "error: argument 'x' is not a literal value",
        "error: KeyError: 7",
    ]
    assert all(call.failed for call in agent.trace[0].calls)
    assert last_said(provider, 1) == "\n".join(f"OBSERVATION: {text}" for text in told)
    assert last_said(provider, 2).startswith("OBSERVATION: error: this ACT could not")


async def test_structured_calls_count_whoever_makes_them() -> None:
    """Bad JSON, missing and repeated ids: each call gets its own result."""
    tools = Calculator()
    agent, _ = agent_with(
        calling(
            ("a", "calculator", '{"expression": "2+2"}'),
            ("a", "calculator", '{"expression": "4*3"}'),
            (None, "calculator", '{"expression": '),
            ("b", "calculator", "[1]"),
            ("c", "calculator", '{"expression": NaN}'),
            ("d", None, None),
            ("e", "calculator", "[" * 50_000),
            text="hm",
        ),
        "ok",
        tools=[tools.calculator],
    )
    assert await agent.solve("x") == "ok"
    assert sorted(tools.asked) == ["2+2", "4*3"]
    assert [call.observation for call in agent.trace[0].calls] == [
        "4",
        "12",
        "error: the arguments are not JSON (JSONDecodeError)",
        "error: the arguments are not a JSON object",
        "error: the arguments cannot be written as JSON",
        "error: there is no tool 'unnamed'; tools: calculator",
        "error: the arguments are not JSON (RecursionError)",
    ]
    _, asked, *results, _ = agent.memory
    ids = [call["id"] for call in asked["tool_calls"]]
    assert ids == ["a", "aitor_1", "aitor_2", "b", "c", "d", "e"]
    assert [result["tool_call_id"] for result in results] == ids


async def test_a_call_that_cannot_be_read_twice_makes_no_answer_of_the_thought() -> (
    None
):
    agent, _ = agent_with(*["THINK: hm\nACT: f("] * 2, "ANSWER: ok")
    assert await agent.solve("x") == "ok"


@pytest.mark.parametrize(
    "cut",
    [
        Answer("ACT: calculator('2+2')", "m", "length", Usage(1, 1)),
        calling(("a", "calculator", '{"expression": "2+2"}'), end="length"),
    ],
    ids=["text", "structured"],
)
async def test_a_call_in_an_answer_that_was_cut_is_not_run(cut: Answer) -> None:
    tools = Calculator()
    agent, provider = agent_with(cut, "ok", tools=[tools.calculator])
    assert await agent.solve("x") == "ok"
    assert tools.asked == []
    assert last_said(provider).startswith("error: your answer was cut off")


@pytest.mark.parametrize(
    ("finish", "text", "reason"),
    [
        ("length", "It is half of", "length"),
        ("length", "", "length"),
        ("length", "<think>\nstill at it", "length"),
        ("content_filter", "It is", "content_filter"),
        ("content_filter", "THINK: how to", "content_filter"),
        ("refusal", "I cannot help.", "refusal"),
        ("stop", "", "empty"),
        ("stop", " \n", "empty"),
        ("stop", "ANSWER:", "empty"),
        ("tool_calls", "", "empty"),
    ],
)
async def test_an_answer_that_is_not_whole_is_told_as_such(
    finish: str, text: str, reason: str
) -> None:
    """
    The kind: half an answer as a whole one.

    Siblings: a thought that took up the limit, a refusal, an answer without a word.
    """
    cut = Answer(text, "m", finish, Usage(1, 1))
    agent, provider = agent_with(cut, "whole", "whole", tools=[Calculator().calculator])
    with pytest.raises(UnfinishedAnswerError, match="no whole answer") as caught:
        await agent.solve("x")
    error = caught.value
    assert error.reason == reason
    assert error.trace == agent.trace
    assert error.text == (error.trace[-1].answer or "")
    assert error.outcome is Outcome.MALFORMED
    assert "half" not in f"{error!s}{error!r}"
    assert (error.provider, len(error.attempts)) == ("scripted", 1)
    assert pickle.loads(pickle.dumps(error)).text == error.text
    assert agent.memory == ()
    assert await agent.solve("x") == "whole"
    assert len(provider.sent) == 2


async def test_a_thought_that_was_cut_goes_on() -> None:
    cut = Answer("THINK: first I", "m", "length", Usage(1, 1))
    agent, _ = agent_with(cut, "ANSWER: ok")
    assert await agent.solve("x") == "ok"


@pytest.mark.parametrize("finish", ["content_filter", "refusal"])
async def test_a_call_in_an_answer_that_was_declined_is_not_run(finish: str) -> None:
    tools = Calculator()
    declined = calling(("a", "calculator", '{"expression": "2+2"}'), end=finish)
    agent, _ = agent_with(declined, "ok", tools=[tools.calculator])
    with pytest.raises(UnfinishedAnswerError):
        await agent.solve("x")
    assert tools.asked == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"expression": "2+2"},
        '{"expression": "2+2"}',
        json.dumps('{"expression": "2+2"}'),
    ],
)
async def test_arguments_count_as_a_text_and_as_what_they_are(arguments: Any) -> None:
    """The kind: servers that agree on less than they think; here llama.cpp and TGI."""
    tools = Calculator()
    agent, _ = agent_with(
        calling(("a", "calculator", arguments)), "ok", tools=[tools.calculator]
    )
    assert await agent.solve("x") == "ok"
    assert tools.asked == ["2+2"]
    # What is sent back is what was meant, as every server takes it.
    (call,) = agent.memory[1]["tool_calls"]
    assert call["function"]["arguments"] == '{"expression": "2+2"}'


async def test_what_a_model_thinks_is_in_the_trace_and_not_sent_back() -> None:
    agent, provider = agent_with(
        "<think>secret</think>\nACT: calculator('2+2')",
        "<think>more</think>\nANSWER: 4",
        tools=[Calculator().calculator],
    )
    assert await agent.solve("x") == "4"
    assert [step.thought for step in agent.trace] == ["secret", "more"]
    assert "secret" not in str(provider.sent[1].request.messages)
    assert agent.memory[-1]["content"] == "4"


async def test_a_tool_that_ends_the_program_ends_nothing() -> None:
    def leave() -> None:
        raise SystemExit(1)

    agent, _ = agent_with("ACT: leave()", "ANSWER: stayed", tools=[leave])
    assert await agent.solve("x") == "stayed"
    assert agent.trace[0].calls[0].observation == "error: SystemExit: 1"


async def test_too_many_steps_are_an_error_with_the_trace() -> None:
    tools = Calculator()
    agent, provider = agent_with(
        "THINK: secret thought\nACT: calculator('2+2')",
        tools=[tools.calculator],
        max_reasoning_steps=3,
    )
    with pytest.raises(StepsExceededError, match="no answer after 3 steps") as caught:
        await agent.solve("x")
    error = caught.value
    assert len(provider.sent) == len(error.trace) == 3
    assert error.trace == agent.trace
    assert tools.asked == ["2+2", "2+2"]
    assert error.trace[-1].calls[0].observation == (
        "error: not run: this was the last step"
    )
    assert "secret" not in f"{error!s}{error!r}{error.trace!r}"
    assert pickle.loads(pickle.dumps(error)).trace == error.trace
    assert agent.memory == ()


# Failover.


async def test_a_failover_in_the_middle_runs_no_tool_twice() -> None:
    tools = Calculator()
    first = ScriptedProvider(
        ["ACT: calculator('2+2')", ServerError("no")], max_retries=0
    )
    second = ScriptedProvider(["ACT: calculator('4*3')", "ANSWER: 12"])
    broker = Broker({"first": first, "second": second})
    agent = ReactAgent("A", broker=broker, tools=[tools.calculator])
    assert await agent.solve("x") == "12"
    assert tools.asked == ["2+2", "4*3"]
    assert [step.provider for step in agent.trace] == ["first", "second", "second"]
    assert [m["content"] for m in second.sent[0].request.messages[1:]] == [
        "x",
        "ACT: calculator(expression='2+2')",
        "OBSERVATION: 4",
    ]


async def test_a_retry_of_the_broker_runs_no_tool_twice() -> None:
    tools = Calculator()
    script: list[Exception | str]
    script = [ServerError("no"), "ACT: calculator('2+2')", ServerError("no"), "ok"]
    broker = Broker([ScriptedProvider(script)], seed=1)
    agent = ReactAgent("A", broker=broker, tools=[tools.calculator])
    assert await agent.solve("x") == "ok"
    assert tools.asked == ["2+2"]


# Memory and trace.


async def test_the_conversation_is_remembered_until_it_is_reset() -> None:
    agent, provider = agent_with("one", "two", "three")
    await agent.solve("first")
    await agent.solve("second")
    sent = provider.sent[1].request.messages[1:]
    assert [message["content"] for message in sent] == ["first", "one", "second"]
    agent.reset()
    assert (agent.memory, agent.trace) == ((), ())
    await agent.solve("third")
    assert len(provider.sent[2].request.messages) == 2


async def test_the_memory_is_bounded_by_whole_problems() -> None:
    tools = Calculator()
    agent, _ = agent_with(
        *("ACT: calculator('2+2')", "one", "two", "three"),
        tools=[tools.calculator],
        memory_size=2,
    )
    await agent.solve("first")
    await agent.solve("second")
    assert len(agent.memory) == 6
    await agent.solve("third")
    said = [message["content"] for message in agent.memory]
    assert said == ["second", "two", "third", "three"]


async def test_a_problem_that_failed_is_not_remembered() -> None:
    agent, _ = agent_with("one", BadRequestError("no"), "two")
    await agent.solve("first")
    with pytest.raises(BadRequestError):
        await agent.solve("second")
    assert agent.trace == ()
    assert [message["content"] for message in agent.memory] == ["first", "one"]


async def test_a_cancelled_problem_leaves_the_agent_as_it_was() -> None:
    agent, provider = agent_with(
        "ACT: hang()", "fine", tools=[Tool(anyio.sleep_forever, name="hang")]
    )
    with anyio.move_on_after(5) as scope:
        await agent.solve("first")
    assert scope.cancelled_caught
    assert agent.memory == ()
    assert await agent.solve("second") == "fine"
    assert len(provider.sent[1].request.messages) == 2


async def test_problems_may_be_solved_at_once() -> None:
    agent, provider = agent_with(Slow(2, "slow"), Slow(1, "fast"))
    answers: dict[str, str] = {}

    async def solve(problem: str) -> None:
        answers[problem] = await agent.solve(problem)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(solve, "a")
        tasks.start_soon(solve, "b")
    assert sorted(answers.values()) == ["fast", "slow"]
    assert [len(sent.request.messages) for sent in provider.sent] == [2, 2]
    assert len(agent.memory) == 4


async def test_nothing_private_is_in_a_repr() -> None:
    def tool(text: str) -> str:
        return "private result"

    agent, _ = agent_with(
        "THINK: private\nACT: tool('private')", "private", tools=[tool]
    )
    await agent.solve("private")
    assert "private" not in repr(agent) + repr(agent.trace)
    assert repr(agent) == (
        "ReactAgent('A', llm_provider=None, tools=[tool], remembered=1)"
    )
    assert isinstance(agent.trace[0], Step)


# Providers.


def three() -> Broker:
    return Broker({name: ScriptedProvider(name) for name in ("one", "two", "three")})


async def test_switching_the_provider_concerns_this_agent_alone() -> None:
    broker = three()
    agent, other = ReactAgent("A", broker=broker), ReactAgent("B", broker=broker)
    agent.set_llm_provider("two")
    assert agent.llm_provider == "two"
    assert await agent.solve("x") == "two"
    assert await other.solve("x") == "one"
    agent.set_llm_provider("three")
    assert await agent.solve("x") == "three"


async def test_an_unknown_provider_changes_nothing() -> None:
    agent = ReactAgent("A", broker=three(), llm_provider="two")
    with pytest.raises(ConfigurationError, match="no provider 'four'; there are: one,"):
        agent.set_llm_provider("four")
    assert agent.llm_provider == "two"
    assert await agent.solve("x") == "two"
    with pytest.raises(ConfigurationError, match="no provider 'four'"):
        ReactAgent("A", broker=three(), llm_provider="four")


async def test_a_problem_that_is_being_solved_keeps_its_provider() -> None:
    async def switch() -> str:
        agent.set_llm_provider("two")
        return "switched"

    one = ScriptedProvider(["ACT: switch()", "from one"])
    broker = Broker({"one": one, "two": ScriptedProvider("from two")})
    agent = ReactAgent("A", broker=broker, tools=[switch])
    assert await agent.solve("x") == "from one"
    assert await agent.solve("x") == "from two"


def manager() -> LLMManager:
    made = LLMManager()
    for name in ("one", "two", "three"):
        made.add_provider(name, "mock", {"default_response": name})
    made.set_default_provider("two")
    return made


async def test_with_a_manager_a_name_selects_one_of_its_providers() -> None:
    llm_manager = manager()
    assert await ReactAgent(name="A", llm_manager=llm_manager).solve("x") == "two"
    agent = await create_react_agent(
        name="A", llm_manager=llm_manager, llm_provider="three", max_reasoning_steps=15
    )
    assert await agent.solve("x") == "three"
    assert agent.max_reasoning_steps == 15
    agent.set_llm_provider("one")
    assert await agent.solve("x") == "one"
    with pytest.raises(ConfigurationError, match="there are: one, two, three"):
        agent.set_llm_provider("four")
    # The manager's own choice is as it was, and it has counted all of it.
    assert llm_manager.default_provider == "two"
    assert llm_manager.get_usage_report()["total_requests"] == 3


async def test_a_managers_failover_works_inside_an_agent() -> None:
    llm_manager = manager()
    llm_manager.add_provider(
        "broken", "mock", {"fail": ServerError("no"), "max_retries": 0}
    )
    llm_manager.set_failover_sequence(["broken", "three"])
    agent = ReactAgent(name="RobustAgent", llm_manager=llm_manager)
    agent.set_llm_provider("broken")
    assert await agent.solve("x") == "three"


async def test_a_provider_of_ones_own_is_asked_in_text() -> None:
    class Own(LLMProvider):
        async def generate_response(self, messages: list[Any], **kwargs: Any) -> str:
            assert not kwargs
            last = messages[-1]["content"]
            done = last.startswith("OBSERVATION")
            return f"ANSWER: {last}" if done else "ACT: calculator('2+2')"

    llm_manager = LLMManager()
    llm_manager.register_provider_class("own", Own)
    llm_manager.add_provider("mine", "own", {})
    agent = ReactAgent("A", llm_manager, tools=[Calculator().calculator])
    assert await agent.solve("x") == "OBSERVATION: 4"


async def test_without_a_manager_a_kind_and_its_settings_make_a_provider() -> None:
    async with await create_react_agent(
        name="A", llm_provider="mock", llm_config={"default_response": "hi"}
    ) as agent:
        assert await agent.solve("x") == "hi"
    config = {"kind": "mock", "default_response": "ho"}
    named = await create_react_agent("B", "mine", config)
    assert await named.solve("x") == "ho"
    assert named.trace[0].provider == "mine"
    for closed in (agent, named):
        await closed.aclose()
        with pytest.raises(BrokerClosedError):
            await closed.solve("x")


async def test_closing_an_agent_leaves_a_broker_of_others_open() -> None:
    broker = three()
    async with ReactAgent("A", broker=broker):
        pass
    assert (await broker.submit("x")).text == "one"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "needs 'llm_manager', or 'llm_provider' with 'llm_config'"),
        ({"llm_provider": "mok"}, "'kind' is not given: must be one of"),
        (
            {"llm_provider": "mock", "llm_config": {"dely": 1}},
            "did you mean 'delay'",
        ),
        ({"llm_config": {}, "broker": Broker([MockProvider()])}, "give one"),
    ],
)
async def test_an_agent_that_cannot_be_made_says_why(
    arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        await create_react_agent(name="A", **arguments)


def test_senseless_arguments_are_refused() -> None:
    broker = three()
    with pytest.raises(ConfigurationError, match="one of the two"):
        ReactAgent("A")
    with pytest.raises(ConfigurationError, match="one of the two"):
        ReactAgent("A", manager(), broker=broker)
    with pytest.raises(ConfigurationError, match="at least 1, not 0"):
        ReactAgent("A", broker=broker, max_reasoning_steps=0)
    with pytest.raises(ConfigurationError, match="at least 0, not -1"):
        ReactAgent("A", broker=broker, memory_size=-1)
    for wrong in ("provider", "prompt"):
        with pytest.raises(ConfigurationError, match="has 'llm_provider' for"):
            agent_with(**{wrong: "one"})


async def test_errors_of_the_broker_come_out_as_they_are() -> None:
    agent, _ = agent_with("ACT: f()", AuthenticationError("wrong key", status=401))
    with pytest.raises(AuthenticationError) as caught:
        await agent.solve("x")
    assert caught.value.status == 401
    assert len(caught.value.attempts) == 1
    assert len(agent.trace) == 1
