import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy.cel import Failed
from agentrt.policy.cel.values import double_from, double_text, int_from, int_from_double


# As Google's CEL for C++ 0.1.3 of cel-expr-python writes them.
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (100000.0, "100000"),
        (123456.7, "123456.7"),
        (1000000.0, "1e+06"),
        (1234567.0, "1.234567e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
    ],
)
def test_a_double_is_written_as_c_does(value: float, text: str) -> None:
    assert double_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_written_double_reads_as_itself(value: float) -> None:
    assert double_from(double_text(value)) == value


@pytest.mark.parametrize("text", ["12", "+12", "012", "-0", "-9223372036854775808"])
def test_an_int_is_read_from_decimal_digits(text: str) -> None:
    assert int_from(text) == int(text)


@pytest.mark.parametrize(
    "text", ["", " 12", "1.0", "0x1F", "1_0", "9223372036854775808", "\u0661", "12\n", "1" * 5000]
)
def test_what_is_no_int_fails(text: str) -> None:
    with pytest.raises(Failed, match=r"int\(\) cannot read"):
        int_from(text)


@pytest.mark.parametrize(
    "text", ["", " 1", "NaN", "inf", "-Infinity", "1e400", "0x10", "1_0", "1.5f", "\u0661", "."]
)
def test_what_is_no_finite_decimal_number_is_no_double(text: str) -> None:
    with pytest.raises(Failed, match=r"double\(\) cannot read"):
        double_from(text)


def test_a_double_loses_its_fraction_towards_zero() -> None:
    assert [int_from_double(1.9), int_from_double(-1.9)] == [1, -1]
    assert int_from_double(9223372036854774784.0) == 9223372036854774784


@pytest.mark.parametrize("value", [2.0**63, -(2.0**63), 1e19, math.inf, math.nan])
def test_a_double_that_no_int_holds_fails(value: float) -> None:
    with pytest.raises(Failed, match=r"int\(\) cannot hold"):
        int_from_double(value)
