"""Guards of the command line, the configuration, crashes and the fake provider."""

from tests.mutation.mutation import Mutation

__all__ = ("COMMAND_LINE",)

FOREIGN = "tests/cli/test_foreign.py"
CHECK = "tests/cli/test_check.py"
CRASHES = "tests/broker/test_crashes.py"
ARGUMENTS = "tests/broker/test_arguments.py"
MANNERS = "tests/testing/test_manners.py"
SECRETS = "tests/test_secrets.py"

COMMAND_LINE = (
    Mutation(
        "line-not-escaped",
        "terminal.py",
        'return " " if character.isspace() else _escaped(character)',
        "return character",
        "Foreign text steers no terminal.",
        FOREIGN,
    ),
    Mutation(
        "cell-is-markup",
        "batch/progress.py",
        "return Text(one_line(text, most))",
        "return one_line(text, most)  # type: ignore[return-value]",
        "A name in a table is no markup.",
        FOREIGN,
    ),
    Mutation(
        "answer-not-escaped",
        "cli/ask.py",
        "text = paragraphs(text)",
        "pass",
        "An answer steers no terminal.",
        FOREIGN,
    ),
    Mutation(
        "full-disk-for-others",
        "cli/streams.py",
        "if error.errno not in FULL or error.filename is not None:",
        "if True:",
        "A full disk is one line, whoever writes.",
        FOREIGN,
    ),
    Mutation(
        "missing-keys-told-later",
        "config/tables.py",
        "if keys and reader.problems:",
        "if False:",
        "Every missing key is told at once.",
        CHECK,
    ),
    Mutation(
        "model-not-doubted",
        "config/meaning.py",
        "if any(covers(rule, base) for rule in rules):",
        "if True:",
        "A model that nobody knows is doubted.",
        CHECK,
    ),
    Mutation(
        "raised-text-told",
        "broker/crashes.py",
        "if found is None or _is_raise(error):",
        "if found is None:",
        "What a provider's own code says may be a secret.",
        CRASHES,
    ),
    Mutation(
        "made-name-told",
        "broker/crashes.py",
        "if quoted <= {*code.co_names, *code.co_varnames}",
        "if True",
        "A name that was made while the program ran may be a secret.",
        CRASHES,
    ),
    Mutation(
        "cause-always-kept",
        "broker/crashes.py",
        "    if debug:\n        crash.__cause__ = error",
        "    crash.__cause__ = error",
        "The cause goes along only where the broker was told so.",
        CRASHES,
    ),
    Mutation(
        "stream-accepted",
        "messages.py",
        "if parameters.get(name) not in NOT_ASKED:",
        "if False:",
        "A parameter that asks for another kind of answer is refused.",
        ARGUMENTS,
    ),
    Mutation(
        "settings-in-frames",
        "providers/concealed.py",
        "return Concealed(values) if type(values) is str else values",
        "return values",
        "No frame of ours shows a setting before it was checked.",
        SECRETS,
    ),
    Mutation(
        "variables-in-frames",
        "config/environment.py",
        "return environ if isinstance(environ, Environment) else Veiled(environ)",
        "return environ",
        "No frame of ours shows the environment.",
        SECRETS,
    ),
    Mutation(
        "fault-closes-silently",
        "testing/provider.py",
        "if not lasts or (plan.fault and plan.fault.kind in CLOSING):",
        "if not lasts:",
        "A fake provider that closes says so.",
        MANNERS,
    ),
    Mutation(
        "no-model-listed",
        "testing/vendor.py",
        "listed = known or (MODEL, *self._behaviour.reasoning_models)",
        "listed = known",
        "Some model is always listed.",
        MANNERS,
    ),
)
