"""Whether a condition fits the types it speaks of: told before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from agentrt.policy.cel.checked import Checked
from agentrt.policy.cel.errors import Failed, Mistyped, Problem
from agentrt.policy.cel.functions import STANDARD, Function, Standard, overload_for
from agentrt.policy.cel.mismatches import (
    Operand,
    a,
    may_be_missing,
    may_be_null,
    never,
    not_among,
    several_types,
    shown,
    unlike,
)
from agentrt.policy.cel.narrowing import Proofs, is_null, path_of, proofs
from agentrt.policy.cel.operators import (
    Overload,
    arithmetic,
    equality,
    membership,
    negation,
    ordering,
)
from agentrt.policy.cel.syntax import (
    And,
    Arithmetic,
    Collected,
    Comparison,
    Conditional,
    Expr,
    FunctionCall,
    Has,
    In,
    Index,
    ListLiteral,
    Literal,
    MapLiteral,
    Name,
    Negative,
    Not,
    Or,
    Quantified,
    Select,
    children,
)
from agentrt.policy.cel.types import (
    ANY,
    BOOL,
    DOUBLE,
    INT,
    NOTHING,
    NULL,
    STRING,
    TIMESTAMP,
    Enum,
    ListOf,
    MapOf,
    Nullable,
    Record,
    Type,
    accepts,
    joined,
    widened,
)
from agentrt.policy.cel.writing import written
from agentrt.policy.problems import suggestion

__all__ = ["check"]

_LITERALS: dict[type, Type] = {
    bool: BOOL,
    int: INT,
    float: DOUBLE,
    str: STRING,
    type(None): NULL,
}
_MACROS = ("all", "exists", "exists_one", "filter", "map")
_OTHER_LANGUAGES = {
    "any": "exists(x, ...)",
    "some": "exists(x, ...)",
    "every": "all(x, ...)",
    "len": "size()",
    "length": "size()",
    "count": "size()",
    "includes": "contains()",
    "search": "matches()",
    "str": "string()",
    "float": "double()",
    "lower": 'matches("(?i)...")',
    "upper": 'matches("(?i)...")',
    "date": 'timestamp("2026-01-01T00:00:00Z")',
    "datetime": 'timestamp("2026-01-01T00:00:00Z")',
    "timedelta": 'duration("1h30m")',
}
"""What functions are called elsewhere."""
_KEYS = (BOOL, INT, STRING)


def check(
    expr: Expr,
    roots: Mapping[str, Type],
    functions: Mapping[str, Function],
    wanted: Type = BOOL,
) -> Checked:
    """The condition with the types of its parts.

    Raises Mistyped with everything that does not fit, not only the first.
    """
    checking = _Checking(functions)
    kind = checking.type_of(expr, _Scope(roots))
    checking.expect_result(expr, kind, wanted)
    if checking.problems:
        raise Mistyped(checking.problems)
    return Checked(expr, kind, frozenset(roots), checking.types, checking.meant)


@dataclass(frozen=True, slots=True)
class _Scope:
    """The names that mean something at a place, and what the tests before it have proved."""

    names: Mapping[str, Type]
    proofs: Proofs = frozenset()

    def after(self, test: Expr, outcome: bool) -> _Scope:
        found = proofs(test, outcome)
        return replace(self, proofs=self.proofs | found) if found else self

    def within(self, variable: str, kind: Type) -> _Scope:
        return replace(self, names={**self.names, variable: kind})


class _Checking:
    """Goes through the tree once, from left to right."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self.functions = functions
        self.types: dict[Expr, Type] = {}
        self.meant: dict[Expr, Overload | Function] = {}
        self.problems: list[Problem] = []

    def type_of(self, expr: Expr, scope: _Scope) -> Type:
        """The type of a part; what is wrong in it is told, and then it is NOTHING."""
        kind = self._narrowed(expr, self._type(expr, scope), scope)
        self.types[expr] = kind
        return kind

    def expect_result(self, expr: Expr, kind: Type, wanted: Type) -> None:
        """Tell it when the whole is not of the type that is wanted."""
        self._tell_impossible("the result", wanted, expr)
        if not accepts(wanted, kind):
            what = "a condition has to be true or false" if wanted == BOOL else f"not {a(wanted)}"
            self._tell_unfit(expr, kind, wanted, f"{shown(expr)} is {a(kind)}: {what}")

    def _tell(self, expr: Expr, message: str) -> Type:
        self.problems.append(Problem(message, expr.start, expr.end))
        return NOTHING

    def _tell_unfit(self, expr: Expr, kind: Type, wanted: Type, otherwise: str) -> Type:
        """Null and several types have a remedy of their own."""
        if isinstance(kind, Nullable) and accepts(wanted, kind.of):
            return self._tell(expr, may_be_null(expr))
        return self._tell(expr, several_types(expr) if kind == ANY else otherwise)

    def _narrowed(self, expr: Expr, kind: Type, scope: _Scope) -> Type:
        if isinstance(kind, Nullable) and ("not null", path_of(expr)) in scope.proofs:
            return kind.of
        return kind

    def _ready(self, expr: Expr, scope: _Scope) -> Type:
        """The type of a part that is used where null has no meaning."""
        kind = self.type_of(expr, scope)
        return self._tell(expr, may_be_null(expr)) if isinstance(kind, Nullable) else kind

    def _expect(self, expr: Expr, scope: _Scope, wanted: Type, user: str) -> None:
        kind = self._ready(expr, scope)
        if not accepts(wanted, kind):
            self._tell_unfit(expr, kind, wanted, f"{shown(expr)} is {a(kind)}: {user} {a(wanted)}")

    def _type(self, expr: Expr, scope: _Scope) -> Type:  # noqa: C901 - one case for each node
        match expr:
            case Literal():
                return _LITERALS[type(expr.value)]
            case Name():
                return self._name(expr, scope)
            case Select():
                return self._select(expr, scope)
            case Has():
                return self._has(expr, scope)
            case Index():
                return self._index(expr, scope)
            case ListLiteral():
                return ListOf(self._one_type(expr.items, scope, "the items of a list"))
            case MapLiteral():
                return self._map(expr, scope)
            case Not():
                self._expect(expr.of, scope, BOOL, "! needs")
                return BOOL
            case Negative():
                return self._negative(expr, scope)
            case Arithmetic():
                return self._arithmetic(expr, scope)
            case Comparison():
                return self._comparison(expr, scope)
            case In():
                return self._in(expr, scope)
            case And() | Or():
                return self._logic(expr, scope)
            case Conditional():
                return self._conditional(expr, scope)
            case FunctionCall():
                return self._function(expr, scope)
            case Quantified():
                self._expect(
                    expr.condition, self._inside(expr, scope), BOOL, f"{expr.kind}() needs"
                )
                return BOOL
            case Collected():
                return self._collected(expr, scope)

    # --- places --------------------------------------------------------------------------

    def _name(self, expr: Name, scope: _Scope) -> Type:
        if expr.name in scope.names:
            return scope.names[expr.name]
        guess = suggestion(expr.name, scope.names)
        return self._tell(expr, f"there is no {expr.name!r} here{guess}")

    def _select(self, expr: Select, scope: _Scope) -> Type:
        of = self._ready(expr.of, scope)
        match of:
            case Record() if expr.field in of.fields:
                field = of.fields[expr.field]
                if field.optional and ("there", path_of(expr)) not in scope.proofs:
                    self._tell(expr, may_be_missing(expr))
                return field.type
            case MapOf() if accepts(of.key, STRING):
                self._tell_no_key(expr.of, of, expr, expr.field)
                return of.value
        return self._no_field(expr, of)

    def _has(self, expr: Has, scope: _Scope) -> Type:
        field = expr.field
        of = self._ready(field.of, scope)
        match of:
            case Record() if field.field in of.fields:
                self.types[field] = of.fields[field.field].type
            case MapOf() if accepts(of.key, STRING):
                self._tell_no_key(field.of, of, field, field.field)
                self.types[field] = of.value
            case _:
                self._no_field(field, of)
        return BOOL

    def _no_field(self, expr: Select, of: Type) -> Type:
        if of == NOTHING:
            return NOTHING
        whole = shown(expr.of)
        match of:
            case Record():
                guess = suggestion(expr.field, of.fields)
                return self._tell(expr, f"{whole} has no {expr.field!r}{guess}")
            case ListOf():
                advice = f"write {whole}[0], {whole}.exists(x, ...) or size({whole})"
                return self._tell(expr, f"{whole} is a list, without fields: {advice}")
        advice = f": write {whole}.getHours() and the like" if of == TIMESTAMP else ""
        message = f"{whole} is {a(of)}, without fields{advice}"
        return self._tell_unfit(expr.of, of, NOTHING, message)

    def _index(self, expr: Index, scope: _Scope) -> Type:
        of = self._ready(expr.of, scope)
        match of:
            case ListOf() | MapOf():
                wanted = INT if isinstance(of, ListOf) else of.key
                self._expect(expr.key, scope, wanted, f"an index of {shown(expr.of)} is")
                if isinstance(of, MapOf) and isinstance(expr.key, Literal):
                    self._tell_no_key(expr.of, of, expr.key, expr.key.value)
                found = of.item if isinstance(of, ListOf) else of.value
                return found if found != NOTHING else self._tell(expr, "there is nothing in it")
        self.type_of(expr.key, scope)
        if of == NOTHING:
            return NOTHING
        whole = shown(expr.of)
        if isinstance(of, Record):
            name = expr.key.value if isinstance(expr.key, Literal) else "name"
            field = written(Select(expr.start, expr.end, expr.of, str(name)))
            return self._tell(expr, f"{whole} has named fields: write {field}")
        return self._tell_unfit(expr.of, of, NOTHING, f"{whole} is {a(of)}, without an index")

    # --- literals with parts -------------------------------------------------------------

    def _one_type(self, parts: Iterable[Expr], scope: _Scope, what: str) -> Type:
        found: Type = NOTHING
        for part in parts:
            kind = self.type_of(part, scope)
            both = joined(found, kind)
            if both is None:
                message = f"{what} are of one type: {shown(part)} is {a(kind)}, not {a(found)}"
                self._tell(part, message)
            else:
                found = both
        return found

    def _map(self, expr: MapLiteral, scope: _Scope) -> Type:
        key = self._one_type([key for key, _ in expr.entries], scope, "the keys of a map")
        if expr.entries and widened(key) not in (*_KEYS, NOTHING):
            self._tell(expr, f"the keys of a map are string, int or bool, not {key}")
        seen = set()
        for part, _ in expr.entries:
            if isinstance(part, Literal) and part.value in seen:
                self._tell(part, f"the key {written(part)} is here twice")
            seen.add(part.value if isinstance(part, Literal) else part)
        value = self._one_type([value for _, value in expr.entries], scope, "the values of a map")
        return MapOf(key, value)

    # --- operators -----------------------------------------------------------------------

    def _negative(self, expr: Negative, scope: _Scope) -> Type:
        of = self._ready(expr.of, scope)
        overload = negation(of)
        if overload is None:
            self._tell_unfit(expr.of, of, INT, f"{shown(expr.of)} is {a(of)}: - needs a number")
        return self._mean(expr, overload)

    def _arithmetic(self, expr: Arithmetic, scope: _Scope) -> Type:
        left, right = self._sides(expr.left, expr.right, scope)
        overload = arithmetic(expr.op, left.type, right.type)
        if overload is None:
            self._tell_both(expr, left, right, unlike(expr.op, left, right))
        return self._mean(expr, overload)

    def _comparison(self, expr: Comparison, scope: _Scope) -> Type:
        is_equality = expr.op in ("==", "!=")
        if is_equality and (is_null(expr.left) or is_null(expr.right)):
            self.type_of(expr.left, scope)
            self.type_of(expr.right, scope)
            return BOOL
        left, right = self._sides(expr.left, expr.right, scope)
        overload = (equality if is_equality else ordering)(expr.op, left.type, right.type)
        if overload is None:
            self._tell_both(expr, left, right, unlike(expr.op, left, right))
        elif is_equality:
            self._tell_impossible(str(left), left.type, expr.right)
            self._tell_impossible(str(right), right.type, expr.left)
        self._mean(expr, overload)
        return BOOL

    def _in(self, expr: In, scope: _Scope) -> Type:
        item, of = self._sides(expr.item, expr.of, scope)
        overload = membership(item.type, of.type)
        if overload is None:
            self._tell_both(expr, item, of, not_among(item, of))
        for part in expr.of.items if isinstance(expr.of, ListLiteral) else ():
            self._tell_impossible(str(item), item.type, part)
        if isinstance(of.type, ListOf):
            self._tell_impossible(f"each of {of}", of.type.item, expr.item)
        if isinstance(of.type, MapOf) and isinstance(expr.item, Literal):
            self._tell_no_key(expr.of, of.type, expr.item, expr.item.value)
        self._mean(expr, overload)
        return BOOL

    def _sides(self, left: Expr, right: Expr, scope: _Scope) -> tuple[Operand, Operand]:
        return Operand(left, self._ready(left, scope)), Operand(right, self._ready(right, scope))

    def _tell_both(self, expr: Expr, left: Operand, right: Operand, message: str) -> None:
        if NOTHING not in (left.type, right.type):  # else it is told already
            self._tell(expr, message)

    def _tell_impossible(self, subject: str, known: Type, other: Expr) -> None:
        """Tell it when a string that is one of a few is held against none of them."""
        if isinstance(known, Enum) and isinstance(other, Literal):
            value = other.value
            if isinstance(value, str) and value not in known.values:
                self._tell(other, never(subject, known, value))

    def _tell_no_key(self, whole: Expr, of: MapOf, place: Expr, key: object) -> None:
        """Tell it when a map with a few known keys is asked for another."""
        if isinstance(of.key, Enum) and isinstance(key, str) and key not in of.key.values:
            self._tell(place, never(f"a key of {shown(whole)}", of.key, key))

    def _mean(self, expr: Expr, overload: Overload | None) -> Type:
        if overload is None:
            return NOTHING
        self.meant[expr] = overload
        return overload.returns

    def _logic(self, expr: And | Or, scope: _Scope) -> Type:
        sign = "&&" if isinstance(expr, And) else "||"
        for part in expr.parts:
            self._expect(part, scope, BOOL, f"{sign} needs")
            scope = scope.after(part, isinstance(expr, And))
        return BOOL

    def _conditional(self, expr: Conditional, scope: _Scope) -> Type:
        self._expect(expr.test, scope, BOOL, "? needs")
        then = self.type_of(expr.then, scope.after(expr.test, True))
        otherwise = self.type_of(expr.otherwise, scope.after(expr.test, False))
        both = joined(then, otherwise)
        if both is None:
            message = f"{shown(expr.then)} is {a(then)} and {shown(expr.otherwise)} is "
            return self._tell(expr, f"{message}{a(otherwise)}: both have to be of one type")
        return both

    # --- macros --------------------------------------------------------------------------

    def _inside(self, expr: Quantified | Collected, scope: _Scope) -> _Scope:
        """The scope in which the variable stands for the items."""
        if expr.variable in scope.names:
            self._tell(expr, f"{expr.variable!r} has a meaning already: choose another variable")
        return scope.within(expr.variable, self._item(expr, self._ready(expr.of, scope)))

    def _item(self, expr: Quantified | Collected, of: Type) -> Type:
        match of:
            case ListOf(item=item) | MapOf(key=item):
                if item == NOTHING:
                    self._tell(expr.of, f"{shown(expr.of)} is empty: there is nothing to look at")
                return item
        whole = shown(expr.of)
        if of == NOTHING:
            return NOTHING
        return self._tell_unfit(expr.of, of, NOTHING, f"{whole} is {a(of)}: a macro needs a list")

    def _collected(self, expr: Collected, scope: _Scope) -> Type:
        inside = self._inside(expr, scope)
        if expr.condition:
            macro = "map" if expr.result else "filter"
            self._expect(expr.condition, inside, BOOL, f"{macro}() needs")
            inside = inside.after(expr.condition, True)
        if expr.result:
            return ListOf(self.type_of(expr.result, inside))
        return ListOf(inside.names[expr.variable])

    # --- functions -----------------------------------------------------------------------

    def _function(self, expr: FunctionCall, scope: _Scope) -> Type:
        if expr.name in STANDARD:
            return self._standard(expr, STANDARD[expr.name], scope)
        function = self.functions.get(expr.name)
        if function is None or expr.receiver is not None:
            return self._no_function(expr, scope)
        self.meant[expr] = function
        self._expect_arguments(expr, function, scope)
        return function.returns

    def _no_function(self, expr: FunctionCall, scope: _Scope) -> Type:
        if not self._is_macro_of_others(expr, scope):
            for part in children(expr):
                self.type_of(part, scope)
        if expr.name in self.functions:
            return self._tell(
                expr, f"{expr.name} is written {expr.name}(...), with nothing before it"
            )
        if expr.name in _MACROS:
            return self._tell(expr, f"{expr.name} is written list.{expr.name}(x, ...)")
        known = [*STANDARD, *self.functions, *_MACROS, "has"]
        ours = _OTHER_LANGUAGES.get(expr.name)
        guess = f": write {ours}" if ours else suggestion(expr.name, known)
        return self._tell(expr, f"there is no function {expr.name!r}{guess}")

    def _is_macro_of_others(self, expr: FunctionCall, scope: _Scope) -> bool:
        """Whether the first argument looks like the variable of a macro that is not ours."""
        first = expr.arguments[0] if expr.receiver and expr.arguments else None
        return isinstance(first, Name) and first.name not in scope.names

    def _expect_arguments(self, expr: FunctionCall, function: Function, scope: _Scope) -> None:
        if len(expr.arguments) != len(function.parameters):
            takes = _counted(len(function.parameters), "value")
            self._tell(expr, f"{expr.name}() takes {takes}, not {len(expr.arguments)}")
        for index, argument in enumerate(expr.arguments):
            kind = self.type_of(argument, scope)
            wanted = function.parameters[index] if index < len(function.parameters) else ANY
            if not accepts(wanted, kind):
                message = f"{shown(argument)} is {a(kind)}: {expr.name}() takes {a(wanted)}"
                self._tell_unfit(argument, kind, wanted, message)
            self._tell_impossible(f"what {expr.name}() takes", wanted, argument)

    def _standard(self, expr: FunctionCall, standard: Standard, scope: _Scope) -> Type:
        parts = children(expr)
        given = tuple(self._ready(part, scope) for part in parts)
        if NOTHING in given:
            return NOTHING
        if not (standard.method if expr.receiver else standard.plain):
            form = f"{expr.name}(x)" if standard.plain else f"x.{expr.name}(...)"
            return self._tell(expr, f"{expr.name} is written {form}")
        overload = overload_for(standard, given)
        if overload is None:
            return self._tell_arguments(expr, standard, parts, given)
        self._try_literal(parts[-1], overload)
        return self._mean(expr, overload)

    def _tell_arguments(
        self,
        expr: FunctionCall,
        standard: Standard,
        parts: tuple[Expr, ...],
        given: tuple[Type, ...],
    ) -> Type:
        for part, kind in zip(parts, given, strict=True):
            if kind == ANY:
                return self._tell(part, several_types(part))
        if expr.name == "contains" and isinstance(given[0], ListOf):
            whole = shown(parts[0])
            return self._tell(expr, f"{whole} is a list: write {shown(parts[-1])} in {whole}")
        forms = [each.parameters for each in standard.overloads if ANY not in each.parameters]
        known = ", ".join(_form(expr, form) for form in forms)
        return self._tell(expr, f"there is no {_form(expr, given)}, but {known}")

    def _try_literal(self, part: Expr, overload: Overload) -> None:
        """What can be read now is read now, so that a wrong pattern or time is told."""
        if overload.prepare and isinstance(part, Literal) and isinstance(part.value, str):
            try:
                overload.prepare(part.value)
            except Failed as error:
                self._tell(part, error.message)


def _form(expr: FunctionCall, types: tuple[Type, ...]) -> str:
    """How the function is called with these types: `string.contains(string)`."""
    names = [str(widened(kind)).replace("(any)", "").replace("(any, any)", "") for kind in types]
    receiver = f"{names.pop(0)}." if expr.receiver else ""
    return f"{receiver}{expr.name}({', '.join(names)})"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
