import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.errors import PolicyError
from agentrt.policy import Policy, Question, find_problems
from agentrt.policy.bundle import stamp_of

DOCS = Path(__file__).parent.parent / "docs" / "policy.md"

MONEY = """\
# policies/money.yaml
default: {read: allow}
rules:
  - id: large-refunds
    decide: hold
    tools: [refund_payment]
    why: Money that has left does not come back.
    approve:
      roles: [support-lead]
      quorum: 1
      expires: 4h
      severity: high
      four_eyes: true
      reason: required
    owner: payments@example.com
    review_by: 2027-06-30
"""


@dataclass(frozen=True)
class Spoken:
    """A tool, as far as a policy knows it."""

    name: str
    effect: str = "irreversible"
    labels: tuple[str, ...] = ()
    input_schema: Mapping[str, Any] = field(default_factory=dict, hash=False)


REFUND = Spoken("refund_payment")
READ = Spoken("read_file", "read")
MAIL = Spoken("send_mail", labels=("egress",))
TOOLS = [REFUND, READ, MAIL]


def said(texts: dict[str, str]) -> list[str]:
    return [str(problem) for problem in find_problems(texts, TOOLS)]


def test_the_documented_rule_is_read_as_it_says() -> None:
    policy = Policy.from_texts({"money.yaml": MONEY}, TOOLS)
    decision = policy.decide(Question(REFUND))
    assert decision.verdict == "hold"
    assert decision.reason == "Money that has left does not come back."
    assert [(ref.id, ref.file, ref.line) for ref in decision.deciding] == [
        ("large-refunds", "money.yaml", 4)
    ]
    assert decision.approve is not None
    assert decision.approve.model_dump() == {
        "roles": ("support-lead",),
        "severity": "high",
        "quorum": 1,
        "expires_s": 4 * 3600,
        "four_eyes": True,
        "reason": "required",
    }
    assert policy.decide(Question(READ)).verdict == "allow"
    assert policy.decide_unknown("refund_paymnet").verdict == "deny"


def test_without_a_default_reads_are_held_too() -> None:
    policy = Policy.from_texts({"a.yaml": "rules: []"}, TOOLS)
    assert policy.decide(Question(READ)).verdict == "hold"


def test_the_bundle_is_the_hash_of_all_texts_by_name() -> None:
    policy = Policy.from_texts({"money.yaml": MONEY}, TOOLS)
    text = json.dumps({"money.yaml": MONEY}, separators=(",", ":"), ensure_ascii=False)
    assert policy.bundle == hashlib.sha256(text.encode()).hexdigest()
    assert policy.decide(Question(READ)).bundle == policy.bundle


def test_a_policy_cannot_be_changed() -> None:
    policy = Policy.from_texts({"money.yaml": MONEY}, TOOLS)
    with pytest.raises(TypeError):
        policy.files["money.yaml"] = ""  # type: ignore[index]
    with pytest.raises(AttributeError):
        policy.rules = ()  # type: ignore[misc]


def test_a_recorded_bundle_is_read_though_its_tools_are_gone() -> None:
    with pytest.raises(PolicyError):
        Policy.from_texts({"money.yaml": MONEY}, [])
    policy = Policy.parse({"money.yaml": MONEY})
    assert policy.decide(Question(REFUND)).verdict == "hold"


# Every class of problem, with its text; docs/policy.md shows each of them.


def with_rule(**changes: str | None) -> str:
    fields: dict[str, str | None] = {
        "id": "r",
        "decide": "hold",
        "tools": "[refund_payment]",
        "why": "Because.",
    }
    lines = [f"    {key}: {value}" for key, value in (fields | changes).items() if value]
    return "rules:\n  -\n" + "\n".join(lines) + "\n"


PROBLEMS = {
    "unknown tool 'refund_paymnet'; did you mean 'refund_payment'?": with_rule(
        tools="[refund_paymnet]"
    ),
    "'pay_*' matches no tool": with_rule(tools='["pay_*"]'),
    "'label:egres' matches no tool; did you mean 'label:egress'?": with_rule(
        tools='["label:egres"]'
    ),
    "unknown effect 'reversible'; did you mean 'irreversible'?": with_rule(
        tools='["effect:reversible"]'
    ),
    "unknown kind 'tag': write effect:egress or label:egress": with_rule(tools='["tag:egress"]'),
    "'*' would allow what cannot be undone (refund_payment, send_mail):"
    " an allow rule names an irreversible tool exactly": with_rule(decide="allow", tools='["*"]'),
    "unknown key 'aprove'; did you mean 'approve'?": with_rule(aprove="{}"),
    "'release' is not supported yet: this version would not heed it, so it is refused": with_rule(
        approve="{release: 30s}"
    ),
    "'why' is missing": with_rule(why=None),
    "'alow' is not deny, hold or allow; did you mean 'allow'?": with_rule(decide="alow"),
    "must begin with a letter or digit, with no blanks in it": with_rule(id="large refunds"),
    "must be a list, such as [a, b]": with_rule(tools="refund_payment"),
    "must not be empty": with_rule(tools="[]"),
    "must be text; put it in quotes if it looks like something else": with_rule(why="7"),
    "must be true or false": with_rule(approve="{four_eyes: yes}"),
    "must be a whole number": with_rule(approve="{quorum: two}"),
    "must be a whole number from 1 to 99": with_rule(approve="{quorum: 0}"),
    "must be a mapping of keys and values": with_rule(approve="[lead]"),
    "must be a duration from 1s to 365d, such as 30m, 4h or 7d": with_rule(
        approve="{expires: 4 hours}"
    ),
    "must be a day such as 2027-06-30": with_rule(review_by="June"),
    "severity critical needs a quorum of at least 2": with_rule(
        approve="{severity: critical, quorum: 1}"
    ),
    "'approve' goes with 'decide: hold', and is a mapping": with_rule(
        decide="deny", approve="{quorum: 2}"
    ),
    "only `read` can have a default: everything else is held where no rule speaks": (
        "default: {write: allow}"
    ),
    "must be {read: allow} or {read: hold}": "default: allow",
    "must be a list of rules, each beginning with -": "rules: {id: r}",
    "a rule is a mapping of keys and values": "rules: [r]",
    "no rules here: write `default:` or `rules:`, or delete the file": "# nothing\n",
    "the key 'read' is here twice": "default: {read: hold, read: allow}",
    "anchors and aliases are not accepted: write it out": "rules: &r []",
    "tags are not accepted: write plain YAML": "rules: !!seq []",
    "a key must be a word": "? [a]\n: b",
    "nested too deeply": "rules: " + "[" * 20 + "]" * 20,
    "the character U+0007 is not accepted": "rules: \x07",
    "not YAML: while parsing a flow sequence, did not find expected ',' or ']'": ("rules: [a"),
}


@pytest.mark.parametrize("message", PROBLEMS)
def test_each_problem_is_told_with_its_place(message: str) -> None:
    problems = said({"a.yaml": PROBLEMS[message]})
    assert [problem.split(": ", 1)[1] for problem in problems] == [message]
    assert all(problem.startswith("a.yaml:") for problem in problems)


@pytest.mark.parametrize("message", PROBLEMS)
def test_each_problem_is_in_the_documentation(message: str) -> None:
    assert message in " ".join(DOCS.read_text().split())


@pytest.mark.parametrize("key", ["file", "line", "expires_s", "meaning"])
def test_names_of_our_own_are_no_keys(key: str) -> None:
    assert f"unknown key {key!r}" in said({"a.yaml": with_rule(**{key: "1"})})[0]
    inside = said({"a.yaml": with_rule(approve=f"{{{key}: 1}}")})
    assert f"unknown key {key!r}" in inside[0]


def test_an_id_is_taken_once_in_all_files() -> None:
    texts = {"a.yaml": with_rule(), "b.yaml": with_rule()}
    assert said(texts) == ["b.yaml:3:9: the id 'r' is taken: it is that of a.yaml:3"]


def test_the_default_is_said_once() -> None:
    texts = {"a.yaml": "default: {read: allow}", "b.yaml": "default: {read: hold}"}
    assert said(texts) == ["b.yaml:1:1: the default is said already, in a.yaml: say it once"]


def test_all_problems_of_all_files_are_told_together_and_in_order() -> None:
    texts = {
        "b.yaml": with_rule(tools="[x]", approve="{quorum: 0, expires: soon}", wy="x"),
        "a.yaml": "rules: [",
        "reviewers.yaml": "reviewers: no",
    }
    problems = find_problems(texts, TOOLS)
    assert [(problem.file, problem.line) for problem in problems] == [
        *(("a.yaml", 1), ("b.yaml", 5), ("b.yaml", 7), ("b.yaml", 7), ("b.yaml", 8)),
        ("reviewers.yaml", 1),
    ]


def test_the_error_prints_as_a_compiler_does(tmp_path: Path) -> None:
    folder = write(tmp_path, "money.yaml", MONEY.replace("[refund_payment]", "[refund_paymnet]"))
    with pytest.raises(PolicyError) as refused:
        Policy.load(folder, TOOLS)
    place = f"{folder}/money.yaml:6:13"
    assert str(refused.value).splitlines() == [
        f"{place}: unknown tool 'refund_paymnet'; did you mean 'refund_payment'?",
        "        tools: [refund_paymnet]",
        "                ^",
        "1 problem in the policy: it is not used until it is put right.",
    ]


def test_an_allow_rule_may_name_an_irreversible_tool_beside_a_glob() -> None:
    text = with_rule(decide="allow", tools='["refund_*", refund_payment]')
    assert Policy.from_texts({"a.yaml": text}, TOOLS).decide(Question(REFUND)).verdict == "allow"


def test_durations_are_seconds_or_a_number_with_its_unit() -> None:
    def expires_s(value: str) -> int:
        policy = Policy.parse({"a.yaml": with_rule(approve=f"{{expires: {value}}}")})
        approve = policy.rules[0].approve
        assert approve is not None
        return approve.expires_s

    values = [expires_s(value) for value in ("90", "90s", "30m", "4h", "7d")]
    assert values == [90, 90, 1800, 14400, 604800]


@given(st.dictionaries(st.sampled_from(["a.yaml", "reviewers.yaml"]), st.text()))
def test_any_text_is_a_policy_or_a_policy_error(texts: dict[str, str]) -> None:
    try:
        policy = Policy.from_texts(texts, TOOLS)
    except PolicyError:
        return
    assert policy.decide(Question(REFUND)).verdict == "hold"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["hold", "read"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "decide", "tools", "why", "approve", "quorum", "expires"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(values, st.sampled_from(["rules", "default", "reviewers"]))
def test_any_shape_is_a_policy_or_a_policy_error(value: Any, key: str) -> None:
    name = "reviewers.yaml" if key == "reviewers" else "a.yaml"
    problems = find_problems({name: json.dumps({key: value})}, TOOLS)
    assert all(problem.line == 1 for problem in problems)


# Folders


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder


def test_a_folder_is_read_without_its_subfolders_and_hidden_files(tmp_path: Path) -> None:
    write(tmp_path, "money.yaml", MONEY)
    write(tmp_path, ".draft.yaml", "nonsense")
    write(tmp_path, "README.md", "nonsense")
    (tmp_path / "tests").mkdir()
    write(tmp_path / "tests", "cases.yaml", "nonsense")
    policy = Policy.load(tmp_path, TOOLS)
    assert policy == Policy.from_texts({"money.yaml": MONEY}, TOOLS)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: folder.rmdir(), "There is no folder"),
        (lambda folder: write(folder, "x.txt", ""), "There is no rules file in"),
        (lambda folder: write(folder, "reviewers.yaml", ""), "There is no rules file in"),
        (lambda folder: write(folder, "deny.yml", MONEY), "would not be read: call it"),
        (lambda folder: write(folder, "deny.YAML", MONEY), "would not be read: call it"),
        (lambda folder: (folder / "a.yaml").write_bytes(b"rules:\n\xff"), "a.yaml:2: this is not"),
        (lambda folder: (folder / "a.yaml").mkdir(), "cannot be read"),
        (lambda folder: (folder / "a.yaml").symlink_to("nowhere"), "cannot be read"),
        (lambda folder: os.mkfifo(folder / "a.yaml"), "cannot be read: it is no file"),
        (lambda folder: write(folder, "a\x1b.yaml", MONEY), "unprintable name"),
    ],
)
def test_a_folder_that_cannot_be_a_policy_is_said(
    tmp_path: Path, prepare: Callable[[Path], object], message: str
) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(PolicyError, match=message):
        Policy.load(folder, TOOLS)


def test_a_file_replaced_with_its_old_time_and_size_is_another(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", MONEY)
    before, file = stamp_of(tmp_path), tmp_path / "a.yaml"
    time = file.stat().st_mtime_ns
    assert stamp_of(tmp_path) == before
    while stamp_of(tmp_path) == before:  # the inode's own clock goes in steps
        file.write_text(MONEY.replace("hold", "deny"))
        os.utime(file, ns=(time, time))
    assert (file.stat().st_mtime_ns, file.stat().st_size) == (before[0][1], before[0][3])


def test_a_file_instead_of_a_folder_is_said(tmp_path: Path) -> None:
    write(tmp_path, "policies", MONEY)
    with pytest.raises(PolicyError, match="cannot be read"):
        Policy.load(tmp_path / "policies", TOOLS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_said(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", MONEY)
    (tmp_path / "a.yaml").chmod(0)
    with pytest.raises(PolicyError, match="cannot be read"):
        Policy.load(tmp_path, TOOLS)


def test_this_repository_lets_reads_run_and_holds_the_rest() -> None:
    folder = Path(__file__).parent.parent / "policies"
    policy = Policy.load(folder, TOOLS)
    assert [policy.decide(Question(tool)).verdict for tool in (READ, REFUND)] == ["allow", "hold"]
    assert policy.reviewers.people == ()


def test_a_policy_text_cannot_write_to_the_terminal() -> None:
    with pytest.raises(PolicyError) as refused:
        Policy.from_texts({"a.yaml": "rules: \x1b[2J"}, TOOLS)
    assert "\x1b" not in str(refused.value)
