"""docs/auditor.md, executed: every command of it answers on a store that the example made."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from worlds import asked, began, decided, doubted, replied, settled, started, use

from agentrt.audit import AuditStore
from agentrt.audit.index.views import VIEWS
from agentrt.audit.query import KEYS
from agentrt.audit.questions import ELSEWHERE, QUESTIONS
from agentrt.cli import main
from agentrt.events import ClaudeReplied
from agentrt.run import Run
from examples.support_desk.__main__ import main as demo
from examples.support_desk.world import CUSTOMER, REVIEWER, mail_server

PAGE = (Path(__file__).parent.parent / "docs" / "auditor.md").read_text()
ROWS = re.findall(r"^\| ([^|`]+) \| `(agentrt [^`]+)` \|$", PAGE, re.MULTILINE)


@dataclass
class Office:
    """The example's folder after two customers wrote, and what is known of it."""

    folder: Path
    refund: str = ""
    run: str = ""
    rejected: str = ""
    doubt: str = ""

    def say(self, command: str, *more: str) -> Result:
        words = shlex.split(command.replace("CALL", self.refund).replace("RUN", self.run))
        assert words[0] == "agentrt"
        return CliRunner().invoke(main, ["-C", str(self.folder), *words[1:], *more])

    def json(self, command: str) -> Any:
        result = self.say(command, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A refund approved and a mail sent; the rule changed; one refund rejected; one in doubt."""
    office = Office(tmp_path_factory.mktemp("audit") / "desk")
    patch = pytest.MonkeyPatch()
    patch.setenv("AGENTRT_KEY", str(office.folder / "keys" / REVIEWER))
    assert demo(["--no-tui", "--keep", str(office.folder)]) == 0
    with AuditStore(office.folder / "agentrt.db", read_only=True) as store:
        [run] = store.runs()
        [refund] = store.calls(tool="refund_payment")
    office.refund, office.run = refund.id, run.id
    rules = office.folder / "policies" / "support.yaml"
    rules.write_text(rules.read_text().replace("expires: 4h", "expires: 2h"))
    with mail_server(office.folder / "mailbox") as address:
        patch.setenv("SHOP_SMTP", address)
        patch.chdir(office.folder)
        office.rejected = rejected_run(office)
    asyncio.run(leave_in_doubt(office))
    yield office
    patch.undo()


def rejected_run(office: Office) -> str:
    script = str(office.folder / "script.yaml")
    message = (office.folder / "message.txt").read_text()
    words = ("run", message, "--user", REVIEWER, "--simulated", script, "--on-hold", "reject")
    CliRunner().invoke(main, ["-C", str(office.folder), *words])
    with AuditStore(office.folder / "agentrt.db", read_only=True) as store:
        [call] = store.calls(status=("rejected",))
    return call.id


async def leave_in_doubt(office: Office) -> None:
    with AuditStore(office.folder / "agentrt.db") as store:
        run = Run("r_00000000000000d0")
        reply = replied(use("pay", payee="bob", cents=7))
        run = await store.append(run, [started(), asked(), reply])
        run = await store.append(run, [decided(run.calls[0])])
        run = await store.append(run, [began(run.calls[0])])
        run = await store.append(run, [doubted(run.calls[0])])
        await store.append(run, [settled(run.calls[0], happened=True)])
        office.doubt = run.calls[0].id


Check = Callable[[Office, Any], None]


def approved_by(office: Office, found: Any) -> None:
    story = json.dumps(found)
    assert f"{REVIEWER} approved it" in story
    assert "was shown the run up to record" in story
    assert "list_orders" in story or "Mona Vale" in story


def followed(office: Office, found: Any) -> None:
    assert found["record"]["type"] == "run.started"
    assert "call.approved" in [fact["type"] for fact in found["followed"]]


def explained(office: Office, found: Any) -> None:
    assert "refunds-need-a-lead" in json.dumps(found)


def approvals(office: Office, found: Any) -> None:
    assert [(row["call"], row["verdict"], row["reviewer"]) for row in found] == [
        (office.rejected, "reject", REVIEWER),
        (office.refund, "approve", REVIEWER),
    ]


def irreversible(office: Office, found: Any) -> None:
    by_call = {row["call"]: row for row in found}
    assert by_call[office.refund]["approved_by"] == REVIEWER
    assert by_call[office.rejected]["approved_by"] == ""
    assert {row["tool"] for row in found} == {"refund_payment", "send_mail", "pay"}


def changed(office: Office, found: Any) -> None:
    assert [(row["call"], row["rule"]) for row in found] == [(office.refund, "refunds-need-a-lead")]
    assert found[0]["changed"].startswith("changed ")


def by_user(office: Office, found: Any) -> None:
    assert {row["user"] for row in found} == {CUSTOMER}
    assert office.refund in {row["call"] for row in found}


def refunds(office: Office, found: Any) -> None:
    assert [row["call"] for row in found] == [office.rejected, office.refund]


def approvers(office: Office, found: Any) -> None:
    [row] = found
    counts = [row[name] for name in ("reviewer", "decisions", "approved", "rejected", "own")]
    assert counts == [REVIEWER, 2, 1, 1, 1]
    assert row["under_5_s"] <= 2
    assert 0 <= row["fastest_s"] <= row["average_s"]


def own(office: Office, found: Any) -> None:
    assert [(row["call"], row["reviewer"]) for row in found] == [(office.rejected, REVIEWER)]


def refused(office: Office, found: Any) -> None:
    [row] = found
    assert row["call"] == office.rejected
    assert "replied" in row["next"]


def in_doubt(office: Office, found: Any) -> None:
    [row] = found
    assert (row["call"], row["happened"], row["by"]) == (office.doubt, True, "check")
    assert (row["why"], row["reason"]) == ("nobody knows", "looked")


def models(office: Office, found: Any) -> None:
    assert {row["agent"] for row in found} == {"support", "desk"}
    assert sum(row["runs"] for row in found) == 3
    assert all(len(row["prompt_version"]) == 64 for row in found)


def model_of_run(office: Office, found: Any) -> None:
    [row] = found
    with AuditStore(office.folder / "agentrt.db", read_only=True) as store:
        replies = [
            record.event
            for record in store.records(office.run)
            if isinstance(record.event, ClaudeReplied)
        ]
    assert {reply.model for reply in replies} == {row["model"]}


def left(office: Office, found: Any) -> None:
    assert {row["tool"] for row in found} == {"send_mail"}
    assert CUSTOMER in found[-1]["given"] or "P9002" in found[-1]["given"]


def said(office: Office, found: Any) -> None:
    assert office.run in {row["run"] for row in found}


def forgotten(office: Office, found: Any) -> None:
    assert found == []


def policies(office: Office, found: Any) -> None:
    latest, first = found
    assert "rule refunds-need-a-lead changed" in latest["changed"]
    assert first["changed"].startswith("the first: rules refunds-need-a-lead")


def intact(office: Office, found: Any) -> None:
    assert found["findings"] == []


def costs(office: Office, found: Any) -> None:
    simulated = [row for row in found if row["simulated"]]
    assert sum(row["requests"] for row in simulated) >= 8
    assert all(row["cost_usd"] > 0 for row in simulated)


EXPECTED: dict[str, Check] = {
    "Who approved this, and what did they see?": approved_by,
    "What did the agent know when it decided?": approved_by,
    "What followed from this record?": followed,
    "Which rules decided, on which values?": explained,
    "Every decision of a reviewer, with key and time taken": approvals,
    "Everything irreversible in a period, with its approver": irreversible,
    "Calls that ran under a rule that was changed later": changed,
    "Calls by a user": by_user,
    "Calls about a customer": refunds,
    "Calls above an amount": refunds,
    "Who approves fastest and most (rubber stamps)": approvers,
    "Approvals by the person who started the run": own,
    "What was denied, and what Claude did next": refused,
    "What was in doubt, and how it was settled": in_doubt,
    "Which model and prompt version said it": models,
    "The model and prompt version of one run": model_of_run,
    "What data left, and to whom": left,
    "Where a word was said": said,
    "What was forgotten, when, by whom, on what ground": forgotten,
    "Every change of policy, and what it changed": policies,
    "Whether anything is missing, or was changed": intact,
    "Costs by user": costs,
    "Costs by agent": costs,
    "Costs by day": costs,
}

FILES = {"The same as a file to hand on"}


@pytest.mark.parametrize(("question", "command"), ROWS, ids=[row[0] for row in ROWS])
def test_each_question_is_answered_by_its_command(
    office: Office, question: str, command: str
) -> None:
    if question in FILES:
        assert office.say(command).exit_code == 0
        assert (office.folder / "why.html").read_text().startswith("<!doctype html>")
        return
    EXPECTED[question](office, office.json(command))
    assert office.say(command).exit_code == 0
    if command.startswith("agentrt audit ask"):
        assert "," in office.say(command, "--csv").stdout or not office.json(command)


def test_every_question_of_the_page_has_an_expected_answer() -> None:
    assert {question for question, _ in ROWS} == EXPECTED.keys() | FILES


def test_every_question_with_a_name_is_on_the_page_and_in_the_list(office: Office) -> None:
    listed = {row["command"] for row in office.json("agentrt audit ask")}
    for name in QUESTIONS:
        assert f"agentrt audit ask {name}" in PAGE
        assert f"agentrt audit ask {name}" in listed
    assert set(ELSEWHERE.values()) <= listed


def test_a_period_bounds_the_answers(office: Office) -> None:
    for name in ("approvals", "irreversible", "approvers", "denied", "doubts", "costs", "models"):
        assert office.json(f"agentrt audit ask {name} --until 2020-01-01") == []


def test_a_name_that_there_is_not_is_told_what_was_meant(office: Office) -> None:
    result = office.say("agentrt audit ask aprovers")
    assert "Did you mean 'approvers'?" in result.stderr
    assert office.say("agentrt audit ask doubts --by day").exit_code == 2


def test_every_key_and_every_column_of_a_view_is_on_the_page(office: Office) -> None:
    for key in KEYS:
        assert f"`{key}:" in PAGE, key
    office.json("agentrt audit index")
    for name in VIEWS:
        columns = office.json(f'agentrt audit sql "SELECT * FROM {name} LIMIT 1"')
        row = re.search(rf"^\| `{name}` \| (.*) \|$", PAGE, re.MULTILINE)
        assert row is not None, name
        for column in columns[0] if columns else ():
            assert f"`{column}`" in row[1] or column.endswith("_tokens"), f"{name}.{column}"
