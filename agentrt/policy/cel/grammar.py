"""The grammar of conditions, for lark: the part of CEL that policies are written in.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax. What CEL has
and conditions have not is read here all the same, so that the refusal can name it.
"""

__all__ = ["GRAMMAR"]

GRAMMAR = r"""
?start: expr

?expr: either
    | either "?" either ":" expr -> conditional

?either: both
    | both ("||" both)+ -> any_of

?both: relation
    | relation ("&&" relation)+ -> all_of

?relation: sum
    | relation COMPARISON sum -> comparison
    | relation _IN sum -> membership

?sum: product
    | sum (PLUS | MINUS) product -> arithmetic

?product: unary
    | product PRODUCT unary -> arithmetic

?unary: member
    | nots
    | minuses

nots: NOT (nots | member)
minuses: MINUS (minuses | member)

?member: primary
    | member "." NAME -> select
    | member "." ESCAPED_NAME -> escaped_select
    | member "." NAME "(" [arguments] CLOSE -> method
    | member "[" expr CLOSE_LIST -> index

?primary: literal
    | NAME -> name
    | NAME "(" [arguments] CLOSE -> function
    | OPEN expr CLOSE -> group
    | OPEN_LIST [items] CLOSE_LIST -> list_literal
    | OPEN_MAP [entries] CLOSE_MAP -> map_literal
    | "." NAME -> leading_dot
    | "." NAME "(" [arguments] CLOSE -> leading_dot

arguments: expr ("," expr)*
items: expr ("," expr)* ","?
entries: entry ("," entry)* ","?
entry: expr ":" expr

?literal: INT -> int_literal
    | DOUBLE -> double_literal
    | STRING -> string_literal
    | WORD -> word_literal
    | UINT -> uint_literal
    | BYTES -> bytes_literal

COMPARISON: "==" | "!=" | "<=" | ">=" | "<" | ">"
PLUS: "+"
MINUS: "-"
PRODUCT: "*" | "/" | "%"
NOT: "!"
OPEN: "("
CLOSE: ")"
OPEN_LIST: "["
CLOSE_LIST: "]"
OPEN_MAP: "{"
CLOSE_MAP: "}"

WORD.2: /(?:true|false|null)\b/
_IN.2: /in\b/
UINT.5: /(?:0x[0-9a-fA-F]+|[0-9]+)[uU]/
DOUBLE.4: /[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+/
INT.3: /0x[0-9a-fA-F]+|[0-9]+/
COMMA: ","
COLON: ":"
BYTES.5: /(?:[bB][rR]?|[rR][bB])(?:"[^"\r\n]*"?|'[^'\r\n]*'?)/
STRING.4: /[rR]\"""[\s\S]*?\"""/
    | /[rR]'''[\s\S]*?'''/
    | /\"""(?:[^\\]|\\[\s\S])*?\"""/
    | /'''(?:[^\\]|\\[\s\S])*?'''/
    | /[rR]"[^"\r\n]*"/
    | /[rR]'[^'\r\n]*'/
    | /"(?:[^"\\\r\n]|\\.)*"/
    | /'(?:[^'\\\r\n]|\\.)*'/
ESCAPED_NAME: /`[^`\r\n]+`/
NAME: /[_a-zA-Z][_a-zA-Z0-9]*/

%ignore /[ \t\r\n\f]+/
%ignore /\/\/[^\n]*/
"""
