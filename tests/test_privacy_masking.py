"""Secrets are found and masked, and what only looks like one stays as it is."""

from __future__ import annotations

import hashlib
import uuid

import pytest

from agentrt.privacy import Counts, Mask, Secrets

SECRETS = {
    "anthropic_key": "sk-ant-api03-" + "Zx9Qw8" * 8,
    "openai_key": "sk-proj-" + "aB3dE5" * 8,
    "google_key": "AIza" + "Sy0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV",
    "google_oauth": "ya29." + "a0AfB_by" * 6,
    "aws_key_id": "AKIA" + "IOSFODNN7ABCDEFG"[:16],
    "aws_secret_key": 'aws_secret_access_key = "'
    + "wJalrXUtnFEMIK7MDENGbPxRfiCYzzzzzzzz1234"
    + '"',
    "github_token": "ghp_" + "a1B2c3" * 6,
    "gitlab_token": "glpat-" + "x1Y2z3W4" * 3,
    "slack_token": "xoxb-" + "123456789012-123456789012-" + "AbCdEf" * 4,
    "slack_webhook": "https://hooks.slack.com/services/" + "T0000AAAA/B0000BBBB/" + "x" * 24,
    "stripe_key": "sk_" + "live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "sendgrid_key": "SG." + "a" * 22 + "." + "b" * 43,
    "registry_token": "npm_" + "a1" * 18,
    "azure_key": "AccountKey=" + "a1B2" * 21 + "ab==",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n",
    "bearer_token": "Authorization: Bearer " + "a1b2c3d4e5f6g7h8i9",
    "basic_auth": "Authorization: Basic " + "dXNlcjpwYXNzd29yZA==",
    "private_key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----",
    "url_password": "postgresql://app:hunter2@db.example.com/shop",
    "password": "password: tr0ub4dor&3",
    "card_number": "4111 1111 1111 1111",
}


@pytest.mark.parametrize("rule", SECRETS)
def test_a_secret_is_masked_and_counted_under_its_rule(rule: str) -> None:
    counts = Counts()
    masked = Mask().text(f"before {SECRETS[rule]} after", counts)
    assert counts == {rule: 1}
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert "[masked: " in masked
    assert SECRETS[rule] not in masked


LOOKALIKES = [
    hashlib.sha256(b"x").hexdigest(),
    hashlib.sha1(b"x").hexdigest(),
    str(uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF)),
    "order 4000000000000006, invoice 5500000000000005, ticket 2026120100000017",
    "4111 1111 1111 1112",
    "+49 30 901820 and 0049 171 1234567",
    "2026-12-01T10:20:30.123456Z 1796100824140",
    "The password is required. Password reset requested. Your token expired.",
    "https://example.com:8443/a/b?c=d and mailto:ana@example.com",
    "bearer of this letter, Bearer tokens are documented elsewhere",
    "sk-button-primary-large risk-adjusted task-list-item-with-a-long-name",
    "sha512-" + "YWJj" * 20,
    "DE02120300000000202051",
    "git@github.com:owner/repository.git",
    "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
    "postgresql://app@db.example.com/shop and postgresql://app:${PASSWORD}@db/shop",
    "id: 65012345, 65f1c0ffee65f1c0ffee65f1",
    "secret santa, api key rotation policy, access token lifetime",
]


@pytest.mark.parametrize("text", LOOKALIKES)
def test_what_only_looks_like_a_secret_stays_as_it_is(text: str) -> None:
    counts = Counts()
    assert Mask().text(text, counts) == text
    assert counts == {}


def test_a_known_secret_is_masked_in_every_form_in_which_it_may_turn_up() -> None:
    mask = Mask(Secrets(["correct horse/battery"]))
    forms = ["correct horse/battery", "correct%20horse%2Fbattery", "Y29ycmVjdCBob3JzZS9iYXR0ZXJ5"]
    for form in forms:
        assert mask.text(f"it is {form}, see") == "it is [masked: secret], see"


def test_a_value_that_stands_in_too_many_texts_by_chance_is_not_known() -> None:
    assert Mask(Secrets(["abc"])).text("abcdef") == "abcdef"


def test_data_is_masked_at_any_depth_in_names_in_numbers_and_in_fields_called_so() -> None:
    counts = Counts()
    given = {
        "rows": [{"api_key": "whatever-it-is", "card": 4111111111111111, "ok": True}],
        "sk-ant-api03-" + "Zx9Qw8" * 8: 1.5,
        "next_token": "page-2",
        "password": "none",
    }
    assert Mask().value(given, counts) == {
        "rows": [
            {"api_key": "[masked: password]", "card": "[masked: card number]", "ok": True},
        ],
        "[masked: api key]": 1.5,
        "next_token": "page-2",
        "password": "none",
    }
    assert counts == {"secret_field": 1, "card_number": 1, "anthropic_key": 1}


def test_text_around_a_secret_keeps_its_letters() -> None:
    assert Mask().text("žluťoučký 4111111111111111 kůň") == "žluťoučký [masked: card number] kůň"


def test_several_secrets_and_one_behind_what_only_looks_so_are_all_masked() -> None:
    text = "12 4111 1111 1111 1111, then ghp_" + "a1B2c3" * 6
    assert Mask().text(text) == "12 [masked: card number], then [masked: token]"


def test_an_iban_is_masked_only_when_it_is_asked_for() -> None:
    iban = "DE02 1203 0000 0000 2020 51"
    assert Mask().text(iban) == iban
    assert Mask(optional=["iban"]).text(f"to {iban} now") == "to [masked: iban] now"
    assert Mask(optional=["iban"]).text("DE03 1203 0000 0000 2020 51") == (
        "DE03 1203 0000 0000 2020 51"
    )


def test_masking_twice_changes_nothing_more() -> None:
    once = Mask().text("\n".join(SECRETS.values()))
    assert Mask().text(once) == once
