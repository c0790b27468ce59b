"""
What of a vendor's error message may be repeated.

A vendor's message helps more than any of ours, but it may quote the prompt, the
answer, or the key with a mask over half of it, and our errors go into logs. So a
message is repeated word by word, and only words that belong to the trade of calling
such an API are kept: whatever else stands there becomes one ellipsis. An echoed
secret is therefore lost, however it is dressed, while "Limit 30000, Requested 30601"
comes through. This is a list of what may pass, not of what may not, because a list
of secrets is never complete.
"""

import re
from collections.abc import Collection, Iterable

__all__ = ("keyword_in", "repeatable", "repeatable_code")

LONGEST = 200
"""Characters of a message that are repeated."""

SHORT_NUMBER = 3
LONGEST_NUMBER = 11
"""Characters of a number; the longest that counts tokens is like `200,000,000`."""

VOCABULARY = """
    a about above access account after again all allowed already also an and any api
    are argument arguments array as assistant at authentication available balance
    base64 be because been before below between billing block blocked blocks body
    boolean both busy but by call called calls can cannot capacity change chat check
    choice choices code combined completion completions configuration conflict
    contact contain contains content context could country credit credits current
    currently data date day days decode default deployment deprecated description
    details did different does doesn double duplicate during each effort either
    element elements empty encoded end endpoint enum equal error exactly exceed
    exceeded exceeds exist exists expected extra failed false field fields file
    files filter filtered filtering first float follow following for format found
    from function functions gateway given greater group had has have header high
    hour hours id image images in include includes increase index input inputs
    instead insufficient integer internal invalid is it items its json key kind
    large last least left length less level like limit limited limits list long low
    malformed management many max maximum may media medium message messages middle
    min minimum minute minutes missing mode model models modify more most must name
    names need needs next no none not null number object of on once one only or
    organization other out output outputs over overloaded parameter parameters parse
    part parts path per permission permitted plan please policy positive previous
    processing project prompt properties property provide provided purchase quota
    quote range rate reach reached reason reasoning received reduce reduced region
    regular remove request requested requests require required requires response
    result results retry role rpd rpm s same schema second seconds see send server
    service set setting shorter should size slow some sorry specified specify spend
    spending status stop stream string strings structured such support supported
    supports system t temporarily text than that the their then there these they
    thinking this those time timed timeout to token tokens too tool tools top total
    tpd tpm traffic true try type types unable unavailable unexpected unknown
    unrecognized unsupported unused up upgrade upstream url use used user uses using
    valid validation value values version was way we went were when where which
    while will with within without would wrong x you your
    access activate activated active afford api_key arrears authorization
    banned beta cap compile complex concurrency console constraint conversion
    converted crashed daily deactivated decrease denied disabled enable enabled
    endpoints ensure exceeding exclusive exhausted expired explicitly extra
    fail failure feature features fewer find free full funds generated generation
    grammar guidelines inactive included incorrect instance invalidated leaked limits
    load loaded loading location locked maintenance make memory met missing moderation
    month monthly moment necessary nested network obtain operation
    optional overdue owner packages paid party payment pending policies possibly prior
    produces provider purchase pricing rates reaching recharge refused released
    reported requirements resource resources restricted resume retired returned
    revoked run running schemas serve serving setup single specification standing
    started starting states subscription suffice sufficient supplied supply support
    suspended team temporary terminated tier tiers top trial unload unloaded updated
    usage verification verified verify violates visit wait window workspace
    additionalproperties allof anyof const contains defs dependentrequired
    exclusivemaximum exclusiveminimum maxcontains maxitems maxlength maxproperties
    mincontains minitems minlength minproperties multipleof nullable oneof pattern
    patternproperties prefixitems propertynames ref unevaluateditems
    unevaluatedproperties uniqueitems
    budget_tokens call_id content_block frequency_penalty
    function_call image_url input_schema input_text json_object json_schema
    logit_bias logprobs max_completion_tokens max_output_tokens max_tokens metadata
    output_config output_text parallel_tool_calls presence_penalty reasoning_effort
    response_format seed service_tier stop_sequences stream_options temperature
    tool_call tool_call_id tool_calls tool_choice tool_result tool_use tool_use_id
    top_k top_logprobs top_p verbosity
"""
"""English around an API, and the names of its fields."""

WORDS = frozenset(VOCABULARY.split())

ATOMS = re.compile(r"[A-Za-z_]+|\d+(?:[.,]\d+)*|[^A-Za-z_\d]+")
PUNCTUATION = frozenset(".,:;'\"`()[]{}<>=+*/-!?|$")
UNITS = frozenset({"ms", "s", "m", "h", "k"})
QUOTED = re.compile(r"(?<!\w)([\"'`])(?=\S)([^\"'`]{1,1000})\1(?!\w)")
WORDS_NAMED = 2
"""More words than these between two quotation marks are a text, not a name."""

KEY_LIKE = re.compile(
    r"\A(?:sk|pk|rk|xai|gsk|hf|key|ghp|nvapi)[-_]|\AAIza|(?=\w*\d)(?=\w*[A-Za-z])\w{24,}",
    re.ASCII,
)
"""What looks like a key is not told, whatever it was given as."""

NAME = re.compile(r"[\w.:/@-]{1,100}", re.ASCII)
ENDS = ".,:;'\"`()[]{}<>!?"

NOUNS = """
    $defs $ref additionalProperties allOf anyOf dependentRequired exclusiveMaximum
    exclusiveMinimum maxItems maxLength maxProperties minItems minLength minProperties
    multipleOf nullable oneOf patternProperties prefixItems propertyNames
    unevaluatedItems unevaluatedProperties uniqueItems
"""
ENGLISH = """
    const contains default enum format if items maximum minimum not pattern properties
    required title type
"""
KEYWORDS = {word.lower(): word for word in (*NOUNS.split(), *ENGLISH.split())}
"""Of JSON Schema; those that are English too need quotation marks to be keywords."""

SPOKEN_OF = re.compile(
    r"[\"'`](\$?[A-Za-z]+)[\"'`]\s+(?:is|are|was|must|not|keyword|at)\b"
)
UNMISTAKABLE = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, NOUNS.split()))})\b")
IN_QUOTES = re.compile(r"[\"'`](\$?[A-Za-z]+)[\"'`]")

PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z_.]")


def repeatable(
    message: str, *, numbers: bool = False, named: Collection[str] = ()
) -> str:
    """
    Return what of *message* may stand in an error, shortened.

    Args:
        message: A vendor's message.
        numbers: Keep long numbers too. To be used only for messages about limits and
            lengths, which count tokens and quote nobody.
        named: What the caller named (a model, parameters, an address) and so knows.
    """
    names = frozenset(name.casefold() for name in named if _is_name(name))
    message = QUOTED.sub(_unquoted, message[: 5 * LONGEST])
    kept: list[str] = []
    for chunk in message.split():
        if _is_ours(chunk, numbers=numbers) or chunk.strip(ENDS).casefold() in names:
            kept.append(chunk)
        elif not kept or kept[-1] != "…":
            kept.append("…")
    text = " ".join(kept)
    if not any(chunk != "…" for chunk in kept):
        return ""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def keyword_in(messages: Iterable[str]) -> str | None:
    """Return the JSON Schema keyword that *messages* name, if they name one."""
    text = "\n".join(messages)
    # A place in the schema is named, too; what is said of something comes after it.
    for pattern in (SPOKEN_OF, UNMISTAKABLE, IN_QUOTES):
        for found in pattern.finditer(text):
            if word := KEYWORDS.get(found[1].lower()):
                return word
    return None


def _unquoted(quoted: re.Match[str]) -> str:
    few = len(quoted[2].split()) <= WORDS_NAMED
    return quoted[0] if few else "…"


def _is_name(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and not KEY_LIKE.search(name)


def repeatable_code(code: str) -> bool:
    """
    Tell whether *code*, such as `model_not_found`, is made of our words alone.

    Vendors add codes faster than we learn them, so a code need not be known to be
    told; but what stands in the place of a code is not always one.
    """
    parts = PARTS.findall(code)
    return 0 < len(parts) < 12 and all(part.casefold() in WORDS for part in parts)


def _is_ours(chunk: str, *, numbers: bool) -> bool:
    # Most are plain words. A mask of nothing but asterisks stands for a key.
    if "**" in chunk:
        return False
    if chunk.lower() in WORDS:
        return True
    # A chunk passes whole or not at all, or pieces of a key would stand alone.
    atoms = ATOMS.findall(chunk)
    after_number = False
    for atom in atoms:
        if atom[0].isdecimal():
            if len(atom) > (LONGEST_NUMBER if numbers else SHORT_NUMBER):
                return False
        elif atom[0].isalpha() or atom[0] == "_":
            known = atom.casefold() in WORDS or (after_number and atom in UNITS)
            if not known:
                return False
        elif not PUNCTUATION.issuperset(atom):
            return False
        after_number = atom[0].isdecimal()
    return True
