"""What secrets look like: patterns of our own, each with what stands in its place.

Written for RE2, whose time is linear in the text. A pattern that alone would also fit hashes,
ids and order numbers has a check that looks at what was found.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["PATTERNS", "Pattern", "is_card", "is_iban"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of secret."""

    rule: str
    """Its name in records and settings."""
    mark: str
    """What stands in its place says so: `[masked: api key]`."""
    regex: str
    """With a group `(...)` around the secret when that is not all that is found."""
    check: Callable[[str], bool] | None = None
    optional: bool = False
    """Only looked for when it is asked for."""


def _luhn(digits: str) -> bool:
    doubled = (int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


_CARDS = re.compile(
    r"4(\d{15}|\d{18})|(5[1-5]|2[2-7])\d{14}|3[47]\d{13}|(6011|65\d\d|64[4-9]\d)\d{12}"
    r"|35(2[89]|[3-8]\d)\d{12}|3(0[0-5]|[68]\d)\d{11}|62\d{14,17}"
)
"""Lengths and beginnings that card networks give out."""


def is_card(text: str) -> bool:
    """Whether digits, in groups or not, are a card number: network, length and check digit."""
    digits = "".join(character for character in text if character.isdigit())
    return bool(_CARDS.fullmatch(digits)) and len(set(digits)) > 1 and _luhn(digits)


def is_iban(text: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 13616, modulo 97)."""
    iban = text.replace(" ", "")
    if not 15 <= len(iban) <= 34:
        return False
    moved = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _is_mixed(text: str) -> bool:
    """A token, not a word: letters and digits."""
    return any(c.isdigit() for c in text) and any(c.isalpha() for c in text)


_PLACEHOLDER = re.compile(r"(?i)[\[<{$%*].*|x{3,}|your[_-].*|.*(example|changeme|placeholder).*")


def _is_password(text: str) -> bool:
    """Something that somebody typed as a secret, and no word about one."""
    if _PLACEHOLDER.fullmatch(text):
        return False
    word = text.strip(".!?:-_*`")
    return not word.isalpha() and not word.isdigit()


def _is_url_password(text: str) -> bool:
    return not _PLACEHOLDER.fullmatch(text)


PATTERNS: tuple[Pattern, ...] = (
    Pattern("anthropic_key", "api key", r"\b(sk-ant-[A-Za-z0-9_-]{20,})"),
    Pattern(
        "openai_key",
        "api key",
        r"\b(sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9]{32,})",
        _is_mixed,
    ),
    Pattern("google_key", "api key", r"\b(AIza[A-Za-z0-9_-]{35})"),
    Pattern("google_oauth", "token", r"\b(ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{28})"),
    Pattern("aws_key_id", "api key", r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b"),
    Pattern(
        "aws_secret_key",
        "api key",
        r"(?i:aws_?secret_?access_?key|secretaccesskey)[\"'\s:=]{1,8}([A-Za-z0-9/+=]{40})",
    ),
    Pattern(
        "github_token",
        "token",
        r"\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    ),
    Pattern("gitlab_token", "token", r"\b(gl(?:pat|ptt|dt|rt|soat|cbt)-[A-Za-z0-9_.-]{20,})"),
    Pattern(
        "slack_token", "token", r"\b((?:xox[abeoprs]|xapp)-(?:[A-Za-z0-9]+-){1,6}[A-Za-z0-9]{8,})"
    ),
    Pattern(
        "slack_webhook",
        "token",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]{20,})",
    ),
    Pattern("stripe_key", "api key", r"\b((?:[rs]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,})"),
    Pattern("sendgrid_key", "api key", r"\b(SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})"),
    Pattern(
        "registry_token",
        "token",
        r"\b(npm_[A-Za-z0-9]{36}|pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}|hf_[A-Za-z0-9]{34,}"
        r"|dop_v1_[a-f0-9]{64})",
    ),
    Pattern("azure_key", "api key", r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,88}={0,2})"),
    Pattern(
        "jwt",
        "token",
        r"\b(eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?)",
    ),
    Pattern(
        "bearer_token",
        "token",
        r"(?i:\bbearer)[\s:]{1,4}([A-Za-z0-9._~+/-]{16,}={0,2})",
        _is_mixed,
    ),
    Pattern(
        "basic_auth",
        "password",
        r"(?i:authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?basic)\s([A-Za-z0-9+/]{8,}={0,2})",
    ),
    Pattern(
        "private_key",
        "private key",
        r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?s:.*?)"
        r"(?:-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----|\z))",
    ),
    Pattern(
        "url_password",
        "password",
        r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/:@\"'<>]{0,100}:([^\s@\"'<>/]+)@",
        _is_url_password,
    ),
    Pattern(
        "password",
        "password",
        r"(?i:pass(?:word|wd|phrase)|pwd|(?:client|api|app|shared)[ _-]?secret|secret[ _-]?key"
        r"|api[ _-]?key|(?:access|auth|refresh)[ _-]?token)"
        r"[\"']?\s{0,3}(?:[:=]|\bis\b)\s{0,3}[\"']?([^\s\"',;&<>(){}\[\]]{6,})",
        _is_password,
    ),
    Pattern("card_number", "card number", r"\b([2-6]\d{3}(?:[ -]?\d){9,15})\b", is_card),
    Pattern(
        "iban",
        "iban",
        r"\b([A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?)\b",
        is_iban,
        optional=True,
    ),
)
"""In the order in which they are tried where several fit."""
