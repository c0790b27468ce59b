"""Guards of agents, the manager and structured answers."""

from tests.mutation.mutation import Mutation

__all__ = ("AGENTS",)

AGENT = "tests/agents/test_agent.py"
TOOLS = "tests/agents/test_tools.py"
WIRE = "tests/agents/test_wire.py"
HAZARDS = "tests/agents/test_hazards.py"
STRUCTURED = "tests/llm/test_structured.py"
GUARDS = "tests/llm/test_guards.py"

AGENTS = (
    Mutation(
        "steps-without-end",
        "agents/agent.py",
        "for left in reversed(range(self.max_reasoning_steps)):",
        "for left in reversed(range(self.max_reasoning_steps + 1)):",
        "An agent has a number of steps and ends after them.",
        f"{AGENT} -k steps",
    ),
    Mutation(
        "tools-run-after-the-last-step",
        "agents/agent.py",
        "await self._observe(call) if run else NOT_RUN",
        "await self._observe(call)",
        "No tool runs whose result nobody would read.",
        f"{AGENT} -k steps",
    ),
    Mutation(
        "failed-problem-remembered",
        "agents/agent.py",
        'exchange: list[Message] = [{"role": "user", "content": problem}]',
        'exchange: list[Message] = [{"role": "user", "content": problem}]\n'
        "        self._memory.append(tuple(exchange))",
        "A problem that failed is not remembered.",
        f"{AGENT} -k 'remembered or memory'",
    ),
    Mutation(
        "memory-unbounded",
        "agents/agent.py",
        "deque(maxlen=memory_size)",
        "deque()",
        "An agent's memory is bounded by whole problems.",
        f"{AGENT} -k memory",
    ),
    Mutation(
        "unknown-tool-crashes",
        "agents/agent.py",
        "if call.name not in self.tools:",
        "if False:",
        "A tool that is not there is told to the model.",
        f"{AGENT} -k unknown_tools",
    ),
    Mutation(
        "tool-error-ends-the-agent",
        "agents/tools.py",
        "except Exception as error:  # noqa: BLE001  # a tool may raise anything",
        "except ZeroDivisionError as error:",
        "What a tool raises is told to the model.",
        f"{AGENT} {TOOLS} -k exception",
    ),
    Mutation(
        "tool-cancels-its-agent",
        "agents/tools.py",
        "if is_stray(error):",
        "if False:",
        "A cancellation that a tool brings about itself is an error of the tool.",
        HAZARDS,
    ),
    Mutation(
        "bad-arguments-reach-the-tool",
        "agents/tools.py",
        "checked = self._check(arguments)",
        "checked = dict(arguments)",
        "Arguments that do not fit never reach the function.",
        TOOLS,
    ),
    Mutation(
        "two-tools-of-one-name",
        "agents/tools.py",
        "if made.name in named:",
        "if False:",
        "Two tools of one name are refused.",
        TOOLS,
    ),
    Mutation(
        "cut-call-is-run",
        "agents/turns.py",
        'if said.calls and reply.finish_reason == "length":',
        "if False:",
        "A call in an answer that was cut is not run.",
        f"{AGENT} -k cut",
    ),
    Mutation(
        "quoted-call-is-run",
        "agents/agent.py",
        "text = not native or not able.get(reply.provider, False)",
        "text = True",
        "What a model with tool calls of its own quotes is not run.",
        f"{WIRE} -k quotes",
    ),
    Mutation(
        "unreadable-arguments-are-none",
        "agents/turns.py",
        "if not isinstance(arguments, dict):",
        "if False:",
        "Arguments that are no object are told to the model.",
        f"{AGENT} {WIRE}",
    ),
    Mutation(
        "wrong-structure-passes",
        "llm/structured.py",
        'if found:\n            raise MismatchError("; ".join',
        'if False:\n            raise MismatchError("; ".join',
        "A structured answer keeps to its format.",
        STRUCTURED,
    ),
    Mutation(
        "repaired-without-end",
        "llm/structured.py",
        "for _ in range(2):",
        "for _ in range(3):",
        "A wrong answer is sent back once.",
        f"{STRUCTURED} -k s62",
    ),
    Mutation(
        "models-words-in-a-mismatch",
        "llm/structured.py",
        "if place not in names:",
        "if False:",
        "A mismatch tells our names for places and none of the model's own.",
        GUARDS,
    ),
    Mutation(
        "strict-model-never-satisfied",
        "llm/reading.py",
        "return model.model_validate_json(text)",
        "return model.model_validate(value)",
        "A strict model takes from JSON what JSON has no type for.",
        f"{STRUCTURED} -k strict",
    ),
    Mutation(
        "half-a-character-spoils-an-answer",
        "llm/reading.py",
        "if not _is_unread(error):",
        "if True:",
        "What a model passes over does no harm to an answer.",
        f"{STRUCTURED} -k odd",
    ),
    Mutation(
        "nonsense-in-a-schema-believed",
        "llm/schema.py",
        "return value if isinstance(value, type(otherwise)) else otherwise",
        "return otherwise if value is None else value",
        "What makes no sense in a schema is not checked, and breaks nothing.",
        f"{STRUCTURED} -k any_schema",
    ),
    Mutation(
        "keyword-out-of-its-place",
        "llm/schema.py",
        ' and "prefixItems" not in schema',
        "",
        "A keyword is not applied where another gives it a meaning not known here.",
        f"{STRUCTURED} -k held_against_a_schema",
    ),
)
