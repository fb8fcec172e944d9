import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.approvals.statement import Covered, Statement
from agentrt.errors import SignatureInvalid

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
WHOLE = st.integers(0, 2**53 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)

statements = st.builds(
    Statement,
    verdict=st.sampled_from(["approve", "reject"]),
    store=TEXT,
    run=TEXT,
    call=TEXT,
    revision=WHOLE,
    tool=TEXT,
    tool_digest=HEX,
    arguments_digest=HEX,
    rules_digest=HEX,
    bundle=HEX,
    head=HEX,
    reviewer=TEXT,
    reason=st.text(st.characters(exclude_categories=["Cs"])),
    signed_at=WHOLE,
    expires_at=WHOLE,
)


def a_statement(**changes: object) -> Statement:
    fields: dict[str, object] = {
        "verdict": "approve",
        "store": "store-1",
        "run": "run-1",
        "call": "toolu_1",
        "revision": 1,
        "tool": "refund_payment",
        "tool_digest": "1" * 64,
        "arguments_digest": "2" * 64,
        "rules_digest": "3" * 64,
        "bundle": "4" * 64,
        "head": "5" * 64,
        "reviewer": "ana@example.com",
        "reason": "The parcel was lost.",
        "signed_at": 1_780_000_000_000,
        "expires_at": 1_780_000_600_000,
    }
    return Statement.model_validate(fields | changes)


def a_covered(**changes: object) -> Covered:
    fields: dict[str, object] = {
        "call": "toolu_2",
        "revision": 1,
        "tool": "refund_payment",
        "tool_digest": "1" * 64,
        "arguments_digest": "6" * 64,
        "rules_digest": "3" * 64,
        "expires_at": 1_780_000_700_000,
    }
    return Covered.model_validate(fields | changes)


SIGNED_BEFORE = (
    b'{"arguments_digest":"%b","bundle":"%b","call":"toolu_1","expires_at":1780000600000,'
    b'"head":"%b","reason":"The parcel was lost.","result":"","reviewer":"ana@example.com",'
    b'"revision":1,"rules_digest":"%b","run":"run-1","signed_at":1780000000000,'
    b'"store":"store-1","tool":"refund_payment","tool_digest":"%b","verdict":"approve",'
    b'"version":1}'
) % tuple(digit * 64 for digit in (b"2", b"4", b"5", b"3", b"1"))
"""The bytes of `a_statement` before a statement could name several calls."""


def test_a_statement_on_one_call_has_the_bytes_it_always_had() -> None:
    assert a_statement().to_bytes() == SIGNED_BEFORE
    assert Statement.from_bytes(SIGNED_BEFORE) == a_statement()


@given(statements, st.lists(TEXT, unique=True, max_size=4), HEX)
def test_a_statement_on_several_calls_comes_back_from_its_bytes(
    statement: Statement, others: list[str], digest: str
) -> None:
    also = tuple(
        a_covered(call=other, arguments_digest=digest, rules_digest=statement.rules_digest)
        for other in others
        if other != statement.call
    )
    several = statement.model_copy(update={"also": also})
    back = Statement.from_bytes(several.to_bytes())
    assert back == several
    assert [covered.call for covered in back.covered] == [
        statement.call,
        *(covered.call for covered in also),
    ]
    assert (several.digest == statement.digest) == (not also)


@pytest.mark.parametrize("field", sorted(set(Covered.model_fields) - {"rules_digest"}))
def test_every_field_of_every_call_is_under_the_digest(field: str) -> None:
    value = getattr(a_covered(), field)
    changed: object = value + 1 if isinstance(value, int) else "9" * 64
    one, other = (a_statement(also=(a_covered(**what),)) for what in ({}, {field: changed}))
    assert one.digest != other.digest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"also": (a_covered(call="toolu_1"),)}, "names a call twice"),
        ({"also": (a_covered(), a_covered(arguments_digest="7" * 64))}, "names a call twice"),
        ({"also": (a_covered(rules_digest="8" * 64),)}, "other rules hold"),
        ({"also": (a_covered(),), "verdict": "happened"}, "settled by itself"),
        ({"also": (a_covered(),), "verdict": "did_not_happen"}, "settled by itself"),
    ],
)
def test_a_statement_covers_only_what_goes_together(changes: dict[str, Any], said: str) -> None:
    forged = a_statement().model_copy(update=changes)
    with pytest.raises(SignatureInvalid, match=said):
        Statement.from_bytes(forged.to_bytes())


def test_an_empty_list_of_other_calls_is_not_the_one_form() -> None:
    with_list = SIGNED_BEFORE.replace(b'{"arguments', b'{"also":[],"arguments', 1)
    with pytest.raises(SignatureInvalid, match="one form"):
        Statement.from_bytes(with_list)


@given(statements)
def test_a_statement_comes_back_from_its_bytes(statement: Statement) -> None:
    assert Statement.from_bytes(statement.to_bytes()) == statement


@given(statements, statements)
def test_two_statements_have_one_digest_only_if_they_say_the_same(
    one: Statement, other: Statement
) -> None:
    assert (one.digest == other.digest) == (one == other)


@pytest.mark.parametrize("field", sorted(set(Statement.model_fields) - {"version", "also"}))
def test_every_field_is_under_the_digest(field: str) -> None:
    statement = a_statement()
    value = getattr(statement, field)
    changed: object = value + 1 if isinstance(value, int) else "9" * 64
    if field == "verdict":
        changed = "reject"
    assert a_statement(**{field: changed}).digest != statement.digest


def test_an_unknown_field_is_refused() -> None:
    data = json.loads(a_statement().to_bytes()) | {"moreover": "delete everything"}
    with pytest.raises(SignatureInvalid, match="moreover"):
        Statement.from_bytes(json.dumps(data, sort_keys=True, separators=(",", ":")).encode())


def test_a_missing_field_is_refused_and_named() -> None:
    data = json.loads(a_statement().to_bytes())
    del data["head"]
    with pytest.raises(SignatureInvalid, match="head"):
        Statement.from_bytes(json.dumps(data).encode())


def test_the_same_statement_written_otherwise_is_refused() -> None:
    data = a_statement().to_bytes()
    for other in (b" " + data, data + b"\n", data.replace(b":", b": ", 1)):
        with pytest.raises(SignatureInvalid, match="one form"):
            Statement.from_bytes(other)


def test_a_key_that_is_there_twice_is_refused() -> None:
    data = a_statement().to_bytes()
    twice = data.replace(b'"verdict":"approve"', b'"verdict":"reject","verdict":"approve"')
    with pytest.raises(SignatureInvalid):
        Statement.from_bytes(twice)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("revision", "1"),
        ("revision", 1.0),
        ("revision", -1),
        ("expires_at", 2**53),
        ("verdict", "Approve"),
        ("head", "5" * 63),
        ("head", "A" * 64),
        ("reviewer", ""),
        ("version", 2),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(field: str, value: object) -> None:
    data = json.loads(a_statement().to_bytes()) | {field: value}
    with pytest.raises(SignatureInvalid, match=field):
        Statement.from_bytes(json.dumps(data, sort_keys=True, separators=(",", ":")).encode())


@given(st.binary())
def test_random_bytes_are_no_statement(data: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        Statement.from_bytes(data)


def test_deep_nesting_and_great_length_are_refused() -> None:
    for data in (b"[" * 60_000, b'"' + b"a" * 70_000 + b'"'):
        with pytest.raises(SignatureInvalid):
            Statement.from_bytes(data)
