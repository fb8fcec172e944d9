"""What was planted is nowhere, and what was forgotten is gone: searched byte by byte."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from office import Office, asks_for, one_call, only_call

from agentrt import AuditStore, Policy, ToolError, keep, tool
from agentrt.audit.erasing import Ground
from agentrt.errors import ErasureRefused, RunError
from agentrt.loop.forget import forget
from agentrt.run import explain
from agentrt.testing import Script, Text, ToolUse, Turn, When

KEY = "sk-ant-api03-" + "Zx9Qw8" * 8
CARD = "4111 1111 1111 1111"
PASSWORD = "tr0ub4dor-and-3"
PLANTED = (KEY, CARD, PASSWORD)


def forms(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield secret.encode("utf-16-le")
    yield secret.encode("utf-16-be")
    for shift in range(3):  # base64 of it within a longer text
        coded = base64.b64encode(b"\0" * shift + raw)
        yield coded[4 if shift else 0 : -4]


def found_in(folder: Path, secret: str) -> list[str]:
    files = [file for file in folder.rglob("*") if file.is_file() and "key-" not in file.name]
    return [
        f"{file.name}: {form!r}"
        for file in files
        for form in forms(secret)
        if form in file.read_bytes()
    ]


@tool(effect="read")
def leak(name: str) -> dict[str, Any]:
    """Look somebody up."""
    logging.getLogger("leak").debug("looked up %s", name)
    return {"key": KEY, "note": f"paid with {CARD}", "login": f"password={PASSWORD}"}


@tool(effect="read")
def refuse(name: str) -> str:
    """Look somebody up, in vain."""
    raise ToolError(f"the server said: key {KEY}, card {CARD}, password={PASSWORD}")


@tool(effect="read")
def break_off(name: str) -> str:
    """Look somebody up, and break off."""
    raise ConnectionError(f"postgresql://app:{PASSWORD}@db refused {KEY} for {CARD}")


@tool(effect="irreversible", preview=lambda password, card: f"{password} and {card}")
def log_in(password: str, card: str) -> str:
    """Log in."""
    return f"logged in with {password}, paid with {card}"


def requests(office: Office) -> str:
    return json.dumps([request.body for request in office.claude.requests], default=str)


@pytest.mark.parametrize("planted", [leak, refuse, break_off])
async def test_what_is_planted_in_results_and_exceptions_is_nowhere(
    tmp_path: Path, planted: Any, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    office = Office(tmp_path, (planted,), one_call(planted.name, name="mona"))
    with office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "Look mona up.")
            told = "\n".join(explain(runtime.store.records(run.id), only_call(run).id).lines())
            data = json.dumps([record.event.data() for record in runtime.store.records(run.id)])
    assert run.status == "finished"
    said = [requests(office), caplog.text, *capfd.readouterr(), told, data]
    for secret in PLANTED:
        assert found_in(tmp_path, secret) == []
        assert not any(secret in text for text in said)


LOG_IN = {"password": PASSWORD, "card": CARD}


async def test_what_claude_wrote_is_in_the_runs_content_while_it_runs_and_nowhere_afterwards(
    tmp_path: Path,
) -> None:
    last = f"I used {PASSWORD} and {CARD}."
    script = one_call("log_in", last, **LOG_IN)
    office = Office(tmp_path, (log_in,), script)
    with office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "Log in.")
            assert run.status == "waiting"
            (call,) = run.held
            assert call.arguments_data == LOG_IN  # what runs is what Claude wrote
            shown = runtime.approvals.view(call.id)
            assert json.loads(shown.call.seen_arguments) == {
                "password": "[masked: password]",
                "card": "[masked: card number]",
            }
            (row,) = runtime.approvals.held()
            told = "\n".join(explain(runtime.store.records(run.id), call.id).lines())
            data = json.dumps([record.event.data() for record in runtime.store.records(run.id)])
            for text in (row.summary, told, data, call.preview or ""):
                assert PASSWORD not in text
                assert CARD not in text
            await runtime.approvals.approve(shown, signer=office.keys["ana"])
            run = await runtime.wait(run.id)
            assert run.status == "finished"
            assert runtime.store.verify().findings == []
            runtime.store.purge()
    sent = requests(office)
    assert PASSWORD in sent  # Claude gets back what it wrote
    for secret in (PASSWORD, CARD):
        assert found_in(tmp_path, secret) == []


async def test_a_result_that_repeats_what_claude_wrote_is_sent_back_masked(tmp_path: Path) -> None:
    @tool(effect="read")
    def echo(password: str) -> str:
        """Say it again."""
        return f"it is {password}"

    office = Office(tmp_path, (echo,), one_call("echo", password="xyzzy plugh"))
    with office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "Say it.")
    assert only_call(run).result == '"it is [masked: password]"'


@tool(effect="read", keep={"iban": "hash"}, keep_result={"rows[].email": "hash"})
def look_up(iban: str, note: Annotated[str, keep("drop")]) -> dict[str, Any]:
    """Look an account up."""
    return {"rows": [{"email": "mona@example.com"}, {"email": "mona@example.com"}], "of": iban}


async def test_fields_are_hashed_and_dropped_and_equal_values_have_equal_hashes(
    tmp_path: Path,
) -> None:
    script = one_call("look_up", iban="DE02120300000000202051", note="a secret love")
    office = Office(tmp_path, (look_up,), script)
    with office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "Look.")
            again = runtime.store.load(run.id)
            assert runtime.store.verify().findings == []
            runtime.store.purge()
    result = json.loads(only_call(run).result)
    one, two = (row["email"] for row in result["rows"])
    assert one == two
    assert one.startswith("[hash: ")
    arguments = only_call(again).arguments_data
    assert arguments == {"iban": result["of"], "note": "[dropped]"}
    for secret in ("DE02120300000000202051", "a secret love", "mona@example.com"):
        assert found_in(tmp_path, secret) == []


ZERO = """
zero_retention:
  - environments: ["client-*"]
fields:
  - tools: [note]
    environments: [client-a]
    result: {"*": drop}
"""


def with_privacy(office: Office, text: str) -> Policy:
    return Policy.from_texts({**office.policy.files, "privacy.yaml": text}, office.tools)


@tool(effect="read", subject="customer")
def note(customer: str) -> str:
    """Read what is noted of a customer."""
    return f"{customer} likes marzipan"


async def test_without_retention_no_content_outlives_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(tmp_path, (note,), one_call("note", "He likes marzipan.", customer="mona"))
    monkeypatch.setattr(Office, "policy", with_privacy(office, ZERO))
    with office:
        async with office.runtime(environment="client-b") as runtime:
            run = await runtime.run(office.agent(), "What does mona like?", user="ida")
            assert run.output == "He likes marzipan."  # whoever waited for it has it
            found = runtime.store.verify()
            assert (found.findings, found.erased > 5) == ([], True)
            records = runtime.store.records(run.id)
            runtime.store.purge()
    assert records[-1].event.type == "content.forgotten"
    for secret in ("marzipan", "What does mona like?"):
        assert found_in(tmp_path, secret) == []


async def told(office: Office, tmp_path: Path) -> str:
    async with office.runtime() as runtime:
        run = await runtime.run(office.agent(), "What of customer-4711?", user="ida")
    return run.id


async def test_after_forget_no_file_of_the_store_has_the_content_and_all_proofs_verify(
    tmp_path: Path,
) -> None:
    office = Office(tmp_path, (note,), one_call("note", "It likes marzipan.", customer="c-4711"))
    with office:
        async with office.runtime(key=tmp_path / "key-runtime") as runtime:
            run = await runtime.run(office.agent(), "What of the customer c-4711?", user="ida")
            follow = await runtime.run(office.agent(), "And then?", user="ida", parent=run.id)
            other = await runtime.run(office.agent(), "Quite another thing.", user="olaf")
            store = runtime.store
            assert found_in(tmp_path, "marzipan")
            done = await forget(store, "c-4711", by="ops", reason="GDPR Art. 17")
            assert set(done.runs) >= {run.id, follow.id}
            assert other.id in done.runs  # the script calls the tool for this one too
            found = store.verify()
            assert found.findings == []
            assert found.erased > 10
            chain = store.records("store")[-1].event
            assert chain.data()["kinds"] == dict(done.kinds)
            assert "c-4711" not in json.dumps(chain.data())
            with pytest.raises(RunError, match="forgotten"):
                await runtime.run(office.agent(), "And then?", user="ida", parent=run.id)
    for secret in ("marzipan", "c-4711", "What of the customer"):
        assert found_in(tmp_path, secret) == []
    with AuditStore(tmp_path / "agentrt.db") as store:
        assert store.verify().findings == []
        assert [row.tool for row in store.calls(run=run.id)] == ["note"]  # that it was called stays


async def test_what_is_gone_without_a_record_is_a_finding(tmp_path: Path) -> None:
    office = Office(tmp_path, (note,), one_call("note", customer="mona"))
    with office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "What of mona?")
            store = runtime.store
            await store.within(
                lambda c: c.exec_driver_sql("DELETE FROM content WHERE part = 'result'")
            )
            (finding,) = store.verify().findings
    assert str(finding) == (
        f"record 6 of {run.id}: its content 'result' is gone and no record says that it was "
        "forgotten"
    )


async def test_a_run_that_waits_is_cancelled_before_it_is_forgotten_and_a_hold_prevents_both(
    tmp_path: Path,
) -> None:
    @tool(effect="irreversible", subject="to")
    def pay(to: str) -> str:
        """Pay."""
        return "paid"

    office = Office(tmp_path, (pay,), one_call("pay", to="mona"))
    with office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "Pay mona.")
            store = runtime.store
            hold = await store.forgetting.hold(subject="mona", by="law", reason="case 12")
            with pytest.raises(ErasureRefused):
                await forget(store, "mona", by="ops", reason="asked")
            assert store.load(run.id).status == "waiting"
            await store.forgetting.release(hold, by="law", reason="case closed")
            done = await forget(store, "mona", by="ops", reason="asked")
            assert done.cancelled == (run.id,)
            assert store.load(run.id).status == "cancelled"
            assert (await forget(store, "mona", by="ops", reason="again")).runs == ()
            assert store.verify().findings == []


async def test_retention_erases_kinds_of_content_by_age(tmp_path: Path) -> None:
    office = Office(tmp_path, (note,), one_call("note", customer="mona"))
    with office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "What of mona?")
            store = runtime.store
            day = 86_400_000
            ages = {"results": 30 * day}
            assert store.forgetting.due(lambda _row, kind: ages.get(kind), kinds=["results"]) == []
            clock = store.clock
            store.clock = lambda: clock() + 31 * day
            (due,) = store.forgetting.due(lambda _row, kind: ages.get(kind), kinds=["results"])
            why = Ground.of("retention", by="ops", reason="30 days")
            erased = await store.forgetting.forget(due.run, why, kinds=due.kinds)
            assert erased is not None
            assert erased.kinds == {"results": 1}
            assert store.load(run.id).prompt == "What of mona?"
            assert store.verify().findings == []


def test_the_store_keys_of_two_stores_make_different_hashes(tmp_path: Path) -> None:
    with AuditStore(tmp_path / "a.db") as one, AuditStore(tmp_path / "b.db") as two:
        assert one.keep_key != two.keep_key


async def test_calls_of_a_forgotten_turn_are_known_by_their_decisions(tmp_path: Path) -> None:
    turn = Turn(
        when=When(turn=0),
        reply=asks_for(
            ToolUse("note", {"customer": "mona"}), ToolUse("note", {"customer": "olaf"})
        ),
    )
    office = Office(tmp_path, (note,), Script(turns=(turn, Turn(reply=(Text("Done."),)))))
    with office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "What of them?", user="ida")
            before = runtime.store.load(run.id).all_calls
            await forget(runtime.store, "ida", by="ops", reason="asked")
            after = runtime.store.load(run.id).all_calls
    assert [(c.id, c.index, c.status) for c in after] == [(c.id, c.index, c.status) for c in before]
