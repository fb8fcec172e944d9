from datetime import UTC, datetime

import pytest

from agentrt.errors import PolicyError
from agentrt.policy import Policy, PublicKey, Reviewer, Reviewers

ANA_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO54E0IPkuALmsYozSo3LmPG6hwcgJDG7Ff59z+eGtnk"
BEN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBEREREREREREREREREREREREREREREREREREREREREX"

TWO = f"""
reviewers:
  - name: ana@example.com
    roles: [support-lead]
    keys: ["{ANA_KEY} ana@laptop"]
    valid_after: 2026-01-01
    valid_before: 2027-01-01
  - name: ben
    keys: ["{BEN_KEY}"]
"""


def read(text: str) -> Reviewers:
    texts = {"default.yaml": "rules: []", "reviewers.yaml": text}
    return Policy.from_texts(texts, []).reviewers


def ms(year: int, month: int = 1, day: int = 1, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp() * 1000)


def test_reviewers_are_found_by_name_and_by_key() -> None:
    reviewers = read(TWO)
    ana = reviewers.get("ana@example.com")
    key = PublicKey.parse(ANA_KEY)
    assert ana is not None
    assert ana.keys == (key,)
    assert reviewers.by_key(key.blob) is reviewers.by_key(key.fingerprint) is ana
    assert reviewers.get("eve") is None
    assert reviewers.by_key("SHA256:none") is None


def test_without_the_file_nobody_can_approve() -> None:
    policy = Policy.from_texts({"default.yaml": "rules: []"}, [])
    assert policy.reviewers.people == ()
    assert policy.reviewers.allowed_signers() == ""


def test_a_reviewer_may_where_every_role_is_theirs() -> None:
    ana = Reviewer(name="ana", roles=("lead", "finance"), keys=(PublicKey.parse(ANA_KEY),))
    assert ana.may([])
    assert ana.may(["lead", "finance"])
    assert not ana.may(["lead", "legal"])


def test_an_owner_has_every_role() -> None:
    owner = Reviewer(name="ana", roles=("owner",), keys=(PublicKey.parse(ANA_KEY),))
    assert owner.may(["lead", "legal"])


def test_keys_are_valid_from_the_first_day_until_before_the_last() -> None:
    ana = read(TWO).get("ana@example.com")
    assert ana is not None
    assert [ana.valid_at(at) for at in (ms(2026) - 1, ms(2026), ms(2027) - 1, ms(2027))] == [
        *(False, True, True, False)
    ]


def test_a_time_has_its_zone() -> None:
    text = TWO.replace("valid_before: 2027-01-01", "valid_before: 2026-06-01T02:00:00+02:00")
    ana = read(text).get("ana@example.com")
    assert ana is not None
    assert ana.valid_at(ms(2026, 6) - 1)
    assert not ana.valid_at(ms(2026, 6))


def test_allowed_signers_is_the_format_of_ssh_keygen() -> None:
    assert read(TWO).allowed_signers() == (
        'ana@example.com namespaces="agentrt-approval",valid-after="20260101000000Z",'
        f'valid-before="20270101000000Z" {ANA_KEY}\n'
        f'ben namespaces="agentrt-approval" {BEN_KEY}\n'
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: ben", "name: ana@example.com", "8:11: there is another reviewer"),
        (BEN_KEY, ANA_KEY, "9:12: this key is in line 5 too"),
        (BEN_KEY, "ssh-rsa AAAA", "9:12: keys of type 'ssh-rsa' are not accepted"),
        (f'["{BEN_KEY}"]', "[]", "9:11: must not be empty"),
        (f'["{BEN_KEY}"]', "[5]", "9:12: must be a line like"),
        ("name: ben", "name: ben,eve", "8:11: must begin with a letter or digit"),
        ("name: ben", 'name: "*"', "8:11: must begin with a letter or digit"),
        ("name: ben", "nam: ben", "8:5: unknown key 'nam'; did you mean 'name'?"),
        ("[support-lead]", "support-lead", "4:12: must be a list"),
        ("2027-01-01", "2027-01-01T10:00:00", "7:19: must be a day, or a time with its zone"),
        ("2027-01-01", "2027-13-01", "7:19: month must be in 1..12"),
        ("2026-01-01", "yesterday", "6:18: must be a day"),
        ("reviewers:", "reviewer:", "`reviewers:` must be a list"),
    ],
)
def test_a_mistake_is_refused_at_its_place(old: str, new: str, message: str) -> None:
    with pytest.raises(PolicyError) as refused:
        read(TWO.replace(old, new))
    assert f"reviewers.yaml:{message}" in str(refused.value) or message in str(refused.value)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(PolicyError, match="must be a list"):
        read("")
