"""The condition language: a strict, statically typed part of CEL.

A condition is parsed, checked against the types of what it speaks of, compiled, and then asked
as often as wanted: `compile(check(parse(text), roots, functions))(values)`. It can read what it
is given and call what the host offers, and nothing else; no condition runs forever.

Source of the language: https://github.com/google/cel-spec.
"""

from agentrt.policy.cel.checked import Checked, HostCall
from agentrt.policy.cel.checking import check
from agentrt.policy.cel.errors import (
    Failed,
    Malformed,
    Mistyped,
    Problem,
    Undetermined,
    Unknown,
)
from agentrt.policy.cel.functions import Function
from agentrt.policy.cel.json_types import schema_type
from agentrt.policy.cel.parsing import parse
from agentrt.policy.cel.program import Program, compile  # noqa: A004 - the word that goes with parse and check
from agentrt.policy.cel.reading import adapted
from agentrt.policy.cel.steps import STEPS_MAX
from agentrt.policy.cel.syntax import Expr, walk
from agentrt.policy.cel.telling import plain
from agentrt.policy.cel.times import Duration, Timestamp
from agentrt.policy.cel.types import (
    ANY,
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    Enum,
    Field,
    ListOf,
    MapOf,
    Nullable,
    Record,
    Type,
    accepts,
)
from agentrt.policy.cel.writing import written

__all__ = [
    "ANY",
    "BOOL",
    "DOUBLE",
    "DURATION",
    "INT",
    "NULL",
    "STEPS_MAX",
    "STRING",
    "TIMESTAMP",
    "Checked",
    "Duration",
    "Enum",
    "Expr",
    "Failed",
    "Field",
    "Function",
    "HostCall",
    "ListOf",
    "Malformed",
    "MapOf",
    "Mistyped",
    "Nullable",
    "Problem",
    "Program",
    "Record",
    "Timestamp",
    "Type",
    "Undetermined",
    "Unknown",
    "accepts",
    "adapted",
    "check",
    "compile",
    "parse",
    "plain",
    "schema_type",
    "walk",
    "written",
]
