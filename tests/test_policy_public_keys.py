import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy.public_keys import PublicKey

LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO54E0IPkuALmsYozSo3LmPG6hwcgJDG7Ff59z+eGtnk ana@laptop"
FINGERPRINT = "SHA256:LEUobCZcrneEdw4ciWU8e+RoE7nmOWHyiYGe+09T3NQ"


def line_of(*strings: bytes) -> str:
    blob = b"".join(len(string).to_bytes(4, "big") + string for string in strings)
    return f"{strings[0].decode()} {base64.b64encode(blob).decode()}"


def test_a_line_of_a_pub_file_is_a_key_with_the_fingerprint_ssh_keygen_prints() -> None:
    assert PublicKey.parse(LINE).fingerprint == FINGERPRINT


def test_the_comment_is_no_part_of_a_key() -> None:
    assert PublicKey.parse(LINE) == PublicKey.parse(LINE.removesuffix(" ana@laptop"))
    assert str(PublicKey.parse(LINE)) == LINE.removesuffix(" ana@laptop")


def test_a_security_key_is_accepted_with_its_application() -> None:
    key = PublicKey.parse(line_of(b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"))
    assert (key.raw, key.application) == (bytes(32), b"ssh:")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ssh-rsa AAAA", "keys of type 'ssh-rsa' are not accepted"),
        (line_of(b"ecdsa-sha2-nistp256", b"nistp256", b"x"), "not accepted"),
        ("", "keys of type '' are not accepted"),
        ("ssh-ed25519", "whole|not accepted|cut short"),
        ("ssh-ed25519 !!!", "not a line like"),
        ("ssh-ed25519 é", "not a line like"),
        (LINE[:60], "not a line like|cut short"),
        (line_of(b"ssh-ed25519", bytes(31)), "not a whole"),
        (line_of(b"ssh-ed25519", bytes(32), b"more"), "not a whole"),
        (line_of(b"sk-ssh-ed25519@openssh.com", bytes(32)), "not a whole"),
        ("sk-ssh-ed25519@openssh.com " + LINE.split()[1], "the key in it is 'ssh-ed25519'"),
    ],
)
def test_any_other_line_is_refused_with_the_reason(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PublicKey.parse(line)


@given(
    st.binary(max_size=60)
    | st.binary(max_size=60).map(lambda data: b"\0\0\0\x0bssh-ed25519" + data)
)
def test_random_bytes_are_a_key_or_a_value_error(blob: bytes) -> None:
    try:
        assert len(PublicKey(blob).raw) == 32
    except ValueError:
        return
