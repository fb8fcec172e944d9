"""Says where a tool has more than one job, or a schema too weak to hold Claude to it.

| code | severity | finding |
|---|---|---|
| T001 | error | no description: Claude cannot know when to call it |
| T002 | warning | a parameter without a description |
| T003 | warning | more than five optional parameters |
| T004 | warning | a boolean that switches what the tool does |
| T005 | warning | free text where an enum, a format, a pattern or a length is meant |
| T006 | warning | irreversible, but neither takes a Call nor has a check |
| T007 | error | a name the API refuses |
| T008 | warning | a name that is not `verb_noun` |
| T009 | warning | a name that joins two jobs with "and" or "or" |
| T010 | note | a schema that Claude's `strict` mode does not take |
| T011 | warning | a parameter that takes anything |
| T012 | warning | the docstring describes a parameter that does not exist |
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agentrt.tools.schema import doc_of, subschemas
from agentrt.tools.tool import NAME_PATTERN, Tool

__all__ = ["Finding", "Severity", "lint"]

Severity = Literal["error", "warning", "note"]

OPTIONAL_MAX = 5

# The name's last word, and what to declare instead of bare text.
_CLOSED_SETS = {"category", "country", "currency", "kind", "level", "mode", "state", "status"}
_CLOSED_SETS |= {"language", "locale", "priority", "type", "unit"}
_PATTERNS = {"code", "email", "id", "iban", "phone", "zip"}
_DATES = {"date": "datetime.date", "day": "datetime.date", "datetime": "datetime.datetime"}
_DATES |= {"timestamp": "datetime.datetime"}
_ADDRESSES = {"url": "pydantic.AnyUrl", "uri": "pydantic.AnyUrl"}
_CONSTRAINTS = {"enum", "const", "pattern", "format", "minLength", "maxLength"}

_VERBS = {"add", "archive", "book", "cancel", "close", "copy", "create", "delete", "draft"}
_VERBS |= {"edit", "execute", "fetch", "find", "get", "list", "move", "pay", "query", "read"}
_VERBS |= {"refund", "remove", "rename", "search", "send", "set", "update", "write"}

_NOT_STRICT = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_NOT_STRICT |= {"minLength", "maxLength"}
_STRICT_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri"}
_STRICT_FORMATS |= {"ipv4", "ipv6", "uuid"}


@dataclass(frozen=True)
class Finding:
    """One thing to look at in one tool."""

    tool: str
    code: str
    """Stable: T001 ... T012, as in the table above."""
    severity: Severity
    message: str
    hint: str
    source: str
    """`file:line`"""


_Said = Iterator[tuple[str, str]]
"""Message and hint of each finding of one rule."""


def lint(tool: Tool) -> list[Finding]:
    """What speaks against one clear job and a strong schema, in the order of the codes."""
    return [
        Finding(tool.name, code, severity, message, hint, tool.source)
        for code, severity, rule in _RULES
        for message, hint in rule(tool)
    ]


def _no_description(tool: Tool) -> _Said:
    if not tool.description:
        yield "It has no docstring.", "Say in one sentence what it does and when to call it."


def _undescribed_parameter(tool: Tool) -> _Said:
    for name, schema in _properties(tool):
        if "description" not in schema:
            hint = "Describe it in the docstring's Args, or with Annotated[..., Field(...)]."
            yield f"`{name}` has no description.", hint


def _many_options(tool: Tool) -> _Said:
    optional = {name for name, _ in _properties(tool)} - _required(tool)
    if len(optional) > OPTIONAL_MAX:
        hint = "Often several tools in one: split it, or leave out what nobody sets."
        yield f"It has {len(optional)} optional parameters.", hint


def _switch(tool: Tool) -> _Said:
    for name, schema in _properties(tool):
        if any(part.get("type") == "boolean" for part in _choices(schema)):
            hint = _DRY_RUN_HINT if name == "dry_run" else _SWITCH_HINT
            yield f"`{name}` switches between two behaviours.", hint


_SWITCH_HINT = "Make two tools, so that a policy can allow one and hold the other."
_DRY_RUN_HINT = "Give @tool a preview= function: it runs before the call is approved."


def _bare_text(tool: Tool) -> _Said:
    for name, schema in _properties(tool):
        for part in _choices(schema):
            items = part.get("items", part)
            if items.get("type") == "string" and not _CONSTRAINTS & items.keys():
                yield from _better_than_text(name)


def _better_than_text(name: str) -> _Said:
    word = name.lower().rpartition("_")[2]
    if word in _CLOSED_SETS:
        yield f"`{name}` takes any text.", "Use an Enum or a Literal of the values there are."
    elif word in _PATTERNS or word in {f"{known}s" for known in _PATTERNS}:
        hint = "Use Annotated[str, Field(pattern=...)], or at least max_length=..."
        yield f"`{name}` takes any text.", hint
    elif better := _DATES.get(word) or _ADDRESSES.get(word):
        yield f"`{name}` takes any text.", f"Use {better}."


def _unanswerable_doubt(tool: Tool) -> _Said:
    if tool.effect == "irreversible" and not tool.check and not tool.parameters.call_name:
        hint = "Take a Call and pass on call.key, or give a check= that looks whether it happened."
        yield "After a crash nobody can know whether it happened.", hint


def _refused_name(tool: Tool) -> _Said:
    if not NAME_PATTERN.fullmatch(tool.name):
        yield "The API refuses this name.", "Use up to 128 of a-z A-Z 0-9 _ -."


def _not_verb_noun(tool: Tool) -> _Said:
    words = _words(tool)
    hint = "Name it as an order: refund_payment, list_files."
    if tool.name != tool.name.lower() or len(words) < 2:
        yield "The name is not of the form verb_noun.", hint
    elif words[-1] in _VERBS and words[0] not in _VERBS:
        yield f"The verb {words[-1]!r} comes last.", hint


def _two_jobs(tool: Tool) -> _Said:
    for word in {"and", "or"} & set(_words(tool)):
        yield (
            f"The name joins two jobs with {word!r}.",
            "Make two tools: each needs its own answer.",
        )


def _not_strict(tool: Tool) -> _Said:
    found = (said for path, part in subschemas(tool.input_schema) for said in _loose(path, part))
    for message in dict.fromkeys(found):
        yield message, "It is checked here all the same; only leave strict mode off for this tool."


def _loose(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    at = f" at `{path.lstrip('.')}`" if path else ""
    for keyword in sorted(_NOT_STRICT & schema.keys()):
        yield f"Strict mode does not take {keyword}{at}."
    if schema.get("minItems", 0) > 1:
        yield f"Strict mode does not take minItems above 1{at}."
    if schema.get("format", "date") not in _STRICT_FORMATS:
        yield f"Strict mode does not take the format {schema['format']}{at}."
    if "$ref" in schema:
        yield f"Strict mode does not take recursion or references{at}."
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        yield f"Strict mode wants additionalProperties: false{at}."


def _anything_goes(tool: Tool) -> _Said:
    for name, schema in _properties(tool):
        if any(_is_free(part) for _, part in subschemas(schema)):
            yield f"`{name}` takes anything.", "Declare what is in it, as a pydantic model."


def _is_free(schema: Mapping[str, Any]) -> bool:
    shaped = {"type", "anyOf", "oneOf", "allOf", "enum", "const", "$ref"} & schema.keys()
    untyped_object = schema.get("additionalProperties") is True
    return not shaped or untyped_object


def _misdescribed(tool: Tool) -> _Said:
    known = {*tool.parameters.names(), tool.parameters.call_name}
    for described in doc_of(tool.function).params:
        if described.arg_name not in known:
            hint = "Correct the name, or take the line out."
            yield f"The docstring describes `{described.arg_name}`, which does not exist.", hint


def _properties(tool: Tool) -> list[tuple[str, dict[str, Any]]]:
    properties: Any = tool.input_schema.get("properties", {})
    return list(properties.items())


def _required(tool: Tool) -> set[str]:
    required: Any = tool.input_schema.get("required", [])
    return set(required)


def _choices(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [schema, *schema.get("anyOf", [])]


def _words(tool: Tool) -> list[str]:
    return [word for word in tool.name.lower().replace("-", "_").split("_") if word]


_RULES: tuple[tuple[str, Severity, Callable[[Tool], _Said]], ...] = (
    ("T001", "error", _no_description),
    ("T002", "warning", _undescribed_parameter),
    ("T003", "warning", _many_options),
    ("T004", "warning", _switch),
    ("T005", "warning", _bare_text),
    ("T006", "warning", _unanswerable_doubt),
    ("T007", "error", _refused_name),
    ("T008", "warning", _not_verb_noun),
    ("T009", "warning", _two_jobs),
    ("T010", "note", _not_strict),
    ("T011", "warning", _anything_goes),
    ("T012", "warning", _misdescribed),
)
