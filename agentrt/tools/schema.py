"""From a function's signature to a JSON Schema."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from docstring_parser import Docstring, parse
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticUndefined, core_schema

from agentrt.errors import ToolDefinitionError
from agentrt.tools.call import Call
from agentrt.tools.canonical import plain_problems

__all__ = [
    "Parameters",
    "call_parameter",
    "doc_of",
    "parameters_of",
    "refusal",
    "source_of",
    "subschemas",
]

_NO_PLACE_KINDS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "takes any number of values",
    inspect.Parameter.VAR_KEYWORD: "takes any name",
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only",
}
_MAPS = ("properties", "$defs", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_UNSAID = ("title", "discriminator")
"""Titles say the name again; the other is OpenAPI's word for what `oneOf` says already."""
_SINGLES = ("items", "additionalProperties", "not", "contains", "propertyNames")


@dataclass(frozen=True, eq=False)
class Parameters:
    """What Claude may set, as a pydantic model and as the JSON Schema made from it."""

    model: type[BaseModel]
    """One field for each parameter; the parameter's name is the field's alias."""
    schema: dict[str, JsonValue]
    call_name: str | None
    """The parameter that gets the Call."""

    def names(self) -> tuple[str, ...]:
        """The parameters in the order of the signature."""
        return tuple(str(field.alias) for field in self.model.model_fields.values())

    def python_values(self, arguments: Mapping[str, JsonValue]) -> dict[str, object]:
        """What the function gets: dates, enums and models in place of their JSON."""
        built = self.model.model_validate(arguments)
        return {
            str(field.alias): getattr(built, name)
            for name, field in type(built).model_fields.items()
        }


def source_of(function: Callable[..., object]) -> str:
    """`file:line` of a function; its qualified name when it has no code of its own."""
    plain = inspect.unwrap(function)
    code = getattr(plain, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(plain)


def refusal(
    function: Callable[..., object], problem: str, advice: str, *, parameter: str | None = None
) -> ToolDefinitionError:
    """The error that says which function, where, which parameter and what to do."""
    name = getattr(function, "__name__", repr(function))
    subject = f"parameter `{parameter}` " if parameter else ""
    return ToolDefinitionError(
        f"{name} ({source_of(function)}) cannot become a tool: {subject}{problem}. {advice}."
    )


def doc_of(function: Callable[..., object]) -> Docstring:
    """The docstring, read as Google, NumPy or reST style, whichever finds most in it."""
    return parse(inspect.getdoc(function) or "")


def parameters_of(function: Callable[..., object]) -> Parameters:
    """Read the signature.

    Raises ToolDefinitionError naming the parameter that cannot become part of a schema.
    """
    hints = {name: _hint(function, p) for name, p in _signature(function).items()}
    call_name = call_parameter(function)
    described = {p.arg_name: p.description for p in doc_of(function).params}
    fields = {
        name: (hint, _field(function, name, hint, described.get(name)))
        for name, hint in hints.items()
        if name != call_name
    }
    model = _model(function, fields)
    return Parameters(model, _schema(function, model), call_name)


def call_parameter(function: Callable[..., object]) -> str | None:
    """The name of the parameter annotated `Call`, if there is one."""
    calls = [
        name
        for name, parameter in _signature(function).items()
        if parameter.annotation is not parameter.empty and _is_call(_hint(function, parameter))
    ]
    if len(calls) > 1:
        raise refusal(function, "is a second Call", "Take it once", parameter=calls[1])
    return calls[0] if calls else None


def _signature(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    for name, parameter in parameters.items():
        if problem := _NO_PLACE_KINDS.get(parameter.kind):
            advice = "Name every parameter, so that a schema and a policy can speak of it"
            raise refusal(function, problem, advice, parameter=name)
    return parameters


def _hint(function: Callable[..., object], parameter: inspect.Parameter) -> Any:
    """The annotation as a type; one parameter at a time, so that an error can name it."""
    if parameter.annotation is parameter.empty:
        advice = "Give it a type, as in `order_id: str`"
        raise refusal(function, "has no annotation", advice, parameter=parameter.name)
    holder = types.SimpleNamespace(__annotations__={"hint": parameter.annotation})
    names = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        return typing.get_type_hints(holder, globalns=names, include_extras=True)["hint"]
    except Exception as error:
        problem = f"has an annotation that cannot be resolved ({error})"
        advice = "Import or define its types at module level"
        raise refusal(function, problem, advice, parameter=parameter.name) from error


def _is_call(hint: object) -> bool:
    match get_origin(hint):
        case origin if origin is Annotated:
            return _is_call(get_args(hint)[0])
        case origin if origin in (Union, types.UnionType):
            return set(get_args(hint)) == {Call, type(None)}
    return hint is Call


def _field(
    function: Callable[..., object], name: str, hint: Any, described: str | None
) -> FieldInfo:
    default: Any = inspect.signature(function).parameters[name].default
    declared = FieldInfo.from_annotation(hint)
    if isinstance(default, FieldInfo) or not declared.is_required():
        advice = f"Write `{name}: Annotated[type, Field(...)] = default`"
        problem = "hides its default in a Field, where a plain call of the function misses it"
        raise refusal(function, problem, advice, parameter=name)
    if default is inspect.Parameter.empty:
        default = PydanticUndefined
    field: FieldInfo = Field(
        default=default,
        alias=name,
        validation_alias=name,
        serialization_alias=name,
        description=declared.description or described or None,
    )
    return field


def _model(
    function: Callable[..., object], fields: Mapping[str, tuple[Any, FieldInfo]]
) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", validate_default=True, ser_json_inf_nan="constants")
    # Fields are numbered, since a parameter may well be called `copy` or `model_name`.
    numbered: dict[str, Any] = {f"parameter_{i}": f for i, f in enumerate(fields.values())}
    try:
        return create_model("Arguments", __config__=config, **numbered)
    except Exception as error:
        raise _unsupported(function, fields, error) from error


def _unsupported(
    function: Callable[..., object], fields: Mapping[str, tuple[Any, FieldInfo]], error: Exception
) -> ToolDefinitionError:
    """Find the parameter at fault by trying each alone."""
    for name, field in fields.items():
        try:
            create_model("Alone", parameter=field)
        except Exception as alone:  # noqa: BLE001 - any error says which parameter it is
            return _bad_type(function, name, alone)
    return _bad_type(function, None, error)


def _bad_type(
    function: Callable[..., object], parameter: str | None, error: Exception
) -> ToolDefinitionError:
    reason = str(error).partition("\n")[0].rstrip(".")
    advice = (
        "Use text, numbers, booleans, enums, Literals, dates, Decimal, lists, dicts, "
        "or pydantic models of these"
    )
    return refusal(function, f"has an unsupported type ({reason})", advice, parameter=parameter)


def _schema(function: Callable[..., object], model: type[BaseModel]) -> dict[str, JsonValue]:
    for name, field in model.model_fields.items():
        try:
            _check_patterns(
                _inlined(_generated(create_model("Alone", **{name: _as_argument(field)})))
            )
        except (PydanticUserError, _Unwritable, re.error) as error:
            raise _bad_type(function, field.alias, error) from error
    _check_defaults(function, model)
    return _inlined(_generated(model))


def _as_argument(field: FieldInfo) -> Any:
    return (field.annotation, field)


def _generated(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(schema_generator=_PlainJsonSchema)


def _check_patterns(schema: Mapping[str, Any]) -> None:
    # pydantic compiles patterns with Rust's engine; Claude's input also meets Python's.
    for _, part in subschemas(schema):
        re.compile(part.get("pattern", ""))


def _check_defaults(function: Callable[..., object], model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        if not field.is_required() and (problem := _default_problem(name, field)):
            advice = "Change one of them, as in `limit: int | None = None`"
            problem = f"has a default that does not fit its type ({problem})"
            raise refusal(function, problem, advice, parameter=field.alias)


def _default_problem(name: str, field: FieldInfo) -> str | None:
    config = ConfigDict(validate_default=True, ser_json_inf_nan="constants")
    try:
        alone = create_model("Alone", __config__=config, **{name: _as_argument(field)})()
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    return next(plain_problems(alone.model_dump(mode="json")[name]), None)


class _Unwritable(Exception):
    """A type that pydantic knows and that arguments cannot be recorded as."""


class _PlainJsonSchema(GenerateJsonSchema):
    """JSON Schema without the types whose JSON does not last."""

    def set_schema(self, schema: core_schema.SetSchema) -> JsonSchemaValue:
        """Refuse."""
        raise _Unwritable("a set has no order, so its digest would change from day to day")

    def frozenset_schema(self, schema: core_schema.FrozenSetSchema) -> JsonSchemaValue:
        """Refuse."""
        raise _Unwritable("a set has no order, so its digest would change from day to day")

    def bytes_schema(self, schema: core_schema.BytesSchema) -> JsonSchemaValue:
        """Refuse."""
        raise _Unwritable("Claude writes text, not bytes")


def subschemas(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """This schema and all inside it, each with the path of the values it speaks of."""
    yield path, dict(schema)
    for key, step, part in _parts(schema):
        yield from subschemas(part, path if key in _LISTS else f"{path}{step}")


def _parts(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for key in _MAPS:
        for name, part in schema.get(key, {}).items():
            yield key, f".{name}", part
    for key in _LISTS:
        for part in schema.get(key, ()):
            yield key, "[]", part
    for key in _SINGLES:
        if isinstance(part := schema.get(key), Mapping):
            yield key, "[]", part


def _inlined(schema: dict[str, Any]) -> dict[str, JsonValue]:
    """References replaced by what they mean; only recursive definitions stay in `$defs`."""
    definitions = schema.get("$defs", {})
    kept: dict[str, Any] = {}
    body = {key: value for key, value in schema.items() if key != "$defs"}
    inlined: dict[str, JsonValue] = _expand(body, definitions, kept)
    return inlined | ({"$defs": kept} if kept else {})


def _expand(schema: Any, definitions: Mapping[str, Any], kept: dict[str, Any]) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    schema = {key: value for key, value in schema.items() if key not in _UNSAID}
    if isinstance(reference := schema.get("$ref"), str):
        return _resolved(schema, reference.removeprefix("#/$defs/"), definitions, kept)
    return _rebuilt(schema, lambda part: _expand(part, definitions, kept))


def _resolved(
    schema: dict[str, Any], name: str, definitions: Mapping[str, Any], kept: dict[str, Any]
) -> Any:
    if not _reaches(name, name, definitions):
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _expand({**definitions[name], **beside}, definitions, kept)
    if name not in kept:
        kept[name] = {}  # stops the recursion; filled on the next line
        kept[name] = _expand(definitions[name], definitions, kept)
    return schema


def _reaches(start: str, goal: str, definitions: Mapping[str, Any]) -> bool:
    seen: set[str] = set()
    open_names = [start]
    while open_names:
        for _, part in subschemas(definitions[open_names.pop()]):
            name = str(part.get("$ref", "")).removeprefix("#/$defs/")
            if name == goal:
                return True
            if name in definitions and name not in seen:
                seen.add(name)
                open_names.append(name)
    return False


def _rebuilt(schema: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """A copy with `change` applied to the schemas directly inside."""
    copy = dict(schema)
    for key in _MAPS:
        if key in copy:
            copy[key] = {name: change(part) for name, part in copy[key].items()}
    for key in _LISTS:
        if key in copy:
            copy[key] = [change(part) for part in copy[key]]
    for key in _SINGLES:
        if key in copy:
            copy[key] = change(copy[key])
    return copy
