"""The policy in force: a changed folder holds from then on, a broken one changes nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from office import Office, in_one_turn, one_call, only_call

from agentrt import Policy, Runtime, tool
from agentrt.claude import Claude
from agentrt.errors import NotAllowed, PolicyError
from agentrt.events import BundleLoaded, BundleRefused, CallDecided
from agentrt.run import Run
from agentrt.runtime import policy_watch as policy_watch_file
from agentrt.testing import ToolUse

ALLOW = "rules:\n  - {id: go, decide: allow, tools: [give_back], why: Go.}\n"
DENY = "rules:\n  - {id: stop, decide: deny, tools: [give_back], why: Stop.}\n"
HOLD = "rules:\n  - {id: ask, decide: hold, tools: [give_back], why: Ask.}\n"
BROKEN = "rules:\n  - {id: odd, decide: perhaps, tools: [give_back], why: Odd.}\n"


class Project(Office):
    """An office whose policy is a folder."""

    @property
    def policies(self) -> Path:
        return self.folder / "policies"

    def write(self, rules: str) -> None:
        """The folder as somebody saves it, reviewers included."""
        self.policies.mkdir(exist_ok=True)
        self.rules = rules
        (self.policies / "reviewers.yaml").write_text(self.reviewers_text)
        (self.policies / "rules.yaml").write_text(rules)

    @property
    def reviewers_text(self) -> str:
        entries = [
            f"  - name: {name}\n    roles: [{', '.join(self._roles[name])}]\n"
            f'    keys: ["{key.public_key}"]\n'
            for name, key in self.keys.items()
        ]
        return "reviewers:\n" + "".join(entries)

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Runtime]:
        claude = Claude.scripted(self.claude.url)
        try:
            async with Runtime(
                store=self.folder / "agentrt.db",
                policy=self.policies,
                agents=[self.agent()],
                claude=claude,
                **options,
            ) as runtime:
                await runtime._policy_watch.look()
                yield runtime
        finally:
            await claude.close()


@pytest.fixture(autouse=True)
def _looks_only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its first look a runtime looks at the folder when a test says so."""
    monkeypatch.setattr(policy_watch_file, "POLICY_LOOK_S", 1e9)


def look_always(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it look at each of its ticks."""
    monkeypatch.setattr(policy_watch_file, "POLICY_LOOK_S", 0)
    runtime._policy_watch._next_look = 0


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Project]:
    def make(rules: str, done: list[int], **options: Any) -> Project:
        @tool(effect="write")
        def give_back(cents: int) -> str:
            """Give back."""
            done.append(cents)
            return "given"

        tools = (give_back, *options.pop("tools", ()))
        script = options.pop("script", one_call("give_back", cents=5))
        made = Project(tmp_path, tools, script)
        made.write(rules)
        return made

    return make


def chain(runtime: Runtime) -> list[Any]:
    """What the store's own chain tells."""
    return [record.event for record in runtime.store.records("store")]


def verdicts(runtime: Runtime, run: Run) -> list[tuple[str, str]]:
    events = [record.event for record in runtime.store.records(run.id)]
    return [(e.verdict, e.bundle) for e in events if isinstance(e, CallDecided)]


# --- a changed folder --------------------------------------------------------------------


async def test_a_changed_folder_holds_for_what_is_decided_from_then_on(
    project: Callable[..., Project],
) -> None:
    done: list[int] = []
    desk = project(ALLOW, done)
    with desk:
        async with desk.open() as runtime:
            before = runtime.policy.bundle
            first = await runtime.run(desk.agent(), "Please.")
            desk.write(DENY)
            assert await runtime.reload_policy()
            second = await runtime.run(desk.agent(), "Please.")
            after = runtime.policy.bundle
            assert verdicts(runtime, first) == [("allow", before)]
            assert verdicts(runtime, second) == [("deny", after)]
    assert before != after
    assert done == [5]


async def test_a_changed_policy_is_recorded_with_its_text(
    project: Callable[..., Project],
) -> None:
    desk = project(ALLOW, [])
    with desk:
        async with desk.open() as runtime:
            desk.write(DENY)
            await runtime.reload_policy()
            texts = {"rules.yaml": DENY, "reviewers.yaml": desk.reviewers_text}
            assert runtime.store.bundle(runtime.policy.bundle) == texts
            loaded = [event.bundle for event in chain(runtime) if isinstance(event, BundleLoaded)]
            assert loaded[-1] == runtime.policy.bundle
            assert len(loaded) == 2
            assert runtime.store.verify().ok


async def test_a_folder_that_was_saved_without_a_change_is_the_same_policy(
    project: Callable[..., Project],
) -> None:
    desk = project(ALLOW, [])
    with desk:
        async with desk.open() as runtime:
            desk.write(ALLOW)
            assert not await runtime.reload_policy()
            assert len(chain(runtime)) == 1


async def test_the_folder_is_looked_at_without_being_asked(
    project: Callable[..., Project],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = project(ALLOW, [])
    with desk:
        async with desk.open() as runtime:
            look_always(runtime, monkeypatch)
            async with told(logging.INFO) as message:
                desk.write(DENY)
            run = await runtime.run(desk.agent(), "Please.")
            assert runtime.policy.bundle[:12] in message()
    assert only_call(run).status == "denied"


@asynccontextmanager
async def told(level: int) -> AsyncIterator[Callable[[], str]]:
    """Wait for the next thing that is logged at this level; what it was."""
    heard, messages = asyncio.Event(), []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())
            heard.set()

    logger, listener, before = logging.getLogger("agentrt"), Listener(level), logging.root.level
    logger.addHandler(listener)
    logger.setLevel(level)
    try:
        yield lambda: messages[0]
        await asyncio.wait_for(heard.wait(), timeout=20)
    finally:
        logger.removeHandler(listener)
        logger.setLevel(logging.NOTSET)
        assert logging.root.level == before


@pytest.mark.parametrize("change", ["added", "taken away", "renamed"])
async def test_a_file_more_or_less_is_a_change(
    project: Callable[..., Project], change: str
) -> None:
    desk = project(ALLOW, [])
    more = desk.policies / "more.yaml"
    if change != "added":
        more.write_text(DENY)
    with desk:
        async with desk.open() as runtime:
            before = runtime.policy.bundle
            if change == "added":
                more.write_text(DENY)
            elif change == "taken away":
                more.unlink()
            else:
                more.rename(desk.policies / "other.yaml")
            assert runtime._in_force.has_changed()
            assert await runtime.reload_policy()
            assert runtime.policy.bundle != before


async def test_what_changed_while_the_runtime_was_opening_is_seen(
    project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reading of the folder and the first look at it somebody saves a file."""
    desk = project(ALLOW, [])
    load = Policy.load.__func__  # type: ignore[attr-defined]

    def and_then_save(cls: type[Policy], *arguments: Any, **options: Any) -> Policy:
        read = load(cls, *arguments, **options)
        monkeypatch.undo()
        desk.write(DENY)
        return read  # type: ignore[no-any-return]

    monkeypatch.setattr(Policy, "load", classmethod(and_then_save))
    with desk:
        async with desk.open() as runtime:
            assert [rule.id for rule in runtime.policy.rules] == ["stop"]


async def test_a_policy_that_was_given_as_such_never_changes(
    project: Callable[..., Project],
) -> None:
    desk = project(ALLOW, [])
    with desk:
        async with desk.runtime() as runtime:
            desk.write(DENY)
            assert not runtime._in_force.has_changed()
            assert not await runtime.reload_policy()


# --- a broken one ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rules.yaml", BROKEN, "rules.yaml:2:23: 'perhaps' is not deny, hold or allow"),
        ("rules.yaml", ALLOW.replace("[give_back]", "[give_bak]"), "did you mean 'give_back'"),
        ("rules.yaml", "rules: [" * 3_000, "rules.yaml:1"),
        ("rules.yaml", "\x00", "rules.yaml"),
        ("reviewers.yaml", "reviewers:\n  - {name: eve, keys: [none]}\n", "reviewers.yaml"),
        ("tools.yaml", "tools: [{tools: [give_back], effect: read}]\n", "never lowers"),
        ("more.yml", DENY, "call it *.yaml"),
    ],
)
async def test_a_broken_policy_changes_nothing_and_is_recorded(
    project: Callable[..., Project], name: str, text: str, said: str
) -> None:
    done: list[int] = []
    desk = project(ALLOW, done)
    with desk:
        async with desk.open() as runtime:
            before = runtime.policy
            (desk.policies / name).write_text(text)
            with pytest.raises(PolicyError) as refusal:
                await runtime.reload_policy()
            assert said in str(refusal.value)
            assert runtime.policy is before
            refused = chain(runtime)[-1]
            assert isinstance(refused, BundleRefused)
            assert refused.bundle == before.bundle
            assert said in "\n".join(json.loads(refused.problems))
            run = await runtime.run(desk.agent(), "Please.")
            assert verdicts(runtime, run) == [("allow", before.bundle)]
            assert runtime.store.verify().ok
    assert done == [5]


async def test_a_folder_that_is_gone_changes_nothing(project: Callable[..., Project]) -> None:
    done: list[int] = []
    desk = project(ALLOW, done)
    with desk:
        async with desk.open() as runtime:
            shutil.rmtree(desk.policies)
            assert runtime._in_force.has_changed()
            with pytest.raises(PolicyError, match="There is no folder"):
                await runtime.reload_policy()
            await runtime.run(desk.agent(), "Please.")
    assert done == [5]


async def test_a_broken_policy_is_told_of_once_and_a_mended_one_holds(
    project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = project(ALLOW, [])
    with desk:
        async with desk.open() as runtime:
            look_always(runtime, monkeypatch)
            async with told(logging.ERROR) as message:
                desk.write(BROKEN)
            assert "'perhaps' is not deny, hold or allow" in message()
            for _ in range(3):
                await runtime._policy_watch.look()
            assert [event.type for event in chain(runtime)] == ["bundle.loaded", "bundle.refused"]
            desk.write(DENY)
            await runtime._policy_watch.look()
            assert [rule.id for rule in runtime.policy.rules] == ["stop"]
            assert [event.type for event in chain(runtime)][2:] == ["bundle.loaded"]


async def test_a_refused_policy_leaves_the_next_process_without_one(
    project: Callable[..., Project],
) -> None:
    """A living process goes on by what it has read; a new one has read nothing."""
    desk = project(ALLOW, [])
    with desk:
        async with desk.open() as runtime:
            desk.write(BROKEN)
            with pytest.raises(PolicyError):
                await runtime.reload_policy()
        with pytest.raises(PolicyError):
            async with desk.open():
                pass


# --- calls that wait ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "status", "revisions", "ran"),
    [
        (HOLD + "# a comment\n", "finished", ["hold", "hold"], True),
        (HOLD.replace("Ask.", "Ask twice."), "held", ["hold", "hold"], False),
        (HOLD.replace("why", "approve: {quorum: 2}, why"), "held", ["hold", "hold"], False),
        (DENY, "denied", ["hold", "deny"], False),
        (ALLOW, "finished", ["hold", "allow"], True),
    ],
)
async def test_a_held_call_under_a_changed_policy_is_decided_anew_before_it_starts(
    project: Callable[..., Project],
    rules: str,
    status: str,
    revisions: list[str],
    ran: bool,
) -> None:
    done: list[int] = []
    desk = project(HOLD, done)
    with desk:
        async with desk.open(take_up=False) as runtime:
            run = await runtime.run(desk.agent(), "Please.")
            desk.write(rules)
            assert await runtime.reload_policy()
            await runtime.approvals.approve(run.held[0].id, signer=desk.keys["ana"])
            run = await runtime.resume(run.id)
            assert [verdict for verdict, _ in verdicts(runtime, run)] == revisions
            assert verdicts(runtime, run)[-1][1] == runtime.policy.bundle
    assert only_call(run).status == status
    assert done == ([5] if ran else [])


async def test_an_allowed_call_that_waits_for_its_turn_is_decided_anew_too(
    project: Callable[..., Project],
) -> None:
    """It was allowed a while ago; when it starts, the policy is another."""
    entered, leave = asyncio.Event(), asyncio.Event()
    done: list[int] = []

    @tool(effect="write")
    async def write_note(text: str) -> str:
        """Write."""
        entered.set()
        await leave.wait()
        return text

    note = "  - {id: note, decide: allow, tools: [write_note], why: Go.}\n"
    script = in_one_turn(ToolUse("write_note", {"text": "x"}), ToolUse("give_back", {"cents": 5}))
    desk = project(ALLOW + note, done, tools=(write_note,), script=script)
    with desk:
        async with desk.open() as runtime:
            started = await runtime.start(desk.agent(), "Please.")
            await asyncio.wait_for(entered.wait(), timeout=20)
            desk.write(DENY + note)
            await runtime.reload_policy()
            leave.set()
            run = await asyncio.wait_for(runtime.wait(started), timeout=20)
            assert [verdict for verdict, _ in verdicts(runtime, run)] == ["allow", "allow", "deny"]
    assert [call.status for call in run.all_calls] == ["finished", "denied"]
    assert done == []


async def test_a_new_limit_counts_what_was_done_before_it(
    project: Callable[..., Project],
) -> None:
    done: list[int] = []
    desk = project(ALLOW, done)
    limit = (
        "  - {id: cap, decide: deny, tools: [give_back], why: Enough.,"
        " limit: {sum: args.cents, most: 12, per: [user]}}\n"
    )
    with desk:
        async with desk.open() as runtime:
            await runtime.run(desk.agent(), "Please.", user="mona")
            desk.write(ALLOW + limit)
            await runtime.reload_policy()
            for status in ("finished", "denied"):
                run = await runtime.run(desk.agent(), "Please.", user="mona")
                assert only_call(run).status == status
    assert done == [5, 5]


# --- reviewers ---------------------------------------------------------------------------


async def test_reviewers_change_with_the_folder(project: Callable[..., Project]) -> None:
    done: list[int] = []
    desk = project(HOLD, done)
    with desk:
        async with desk.open() as runtime:
            run = await runtime.run(desk.agent(), "Please.")
            ben = desk.reviewer("ben", "owner")
            with pytest.raises(NotAllowed, match=r"is no reviewer's"):
                await runtime.approvals.approve(run.held[0].id, signer=ben)
            ana = desk.keys.pop("ana")
            desk.write(HOLD)
            await runtime.reload_policy()
            with pytest.raises(NotAllowed, match=r"is no reviewer's"):
                await runtime.approvals.approve(run.held[0].id, signer=ana)
            await runtime.approvals.approve(run.held[0].id, signer=ben)
            run = await asyncio.wait_for(runtime.wait(run.id), timeout=20)
    assert (run.status, done) == ("finished", [5])


async def test_an_approval_by_a_reviewer_who_is_taken_away_before_it_starts_does_not_count(
    project: Callable[..., Project],
) -> None:
    done: list[int] = []
    desk = project(HOLD, done)
    desk.reviewer("ben", "owner")
    desk.write(HOLD)
    with desk:
        async with desk.open(take_up=False) as runtime:
            run = await runtime.run(desk.agent(), "Please.")
        async with desk.open(take_up=False) as runtime:
            await runtime.approvals.approve(run.held[0].id, signer=desk.keys["ana"])
            del desk.keys["ana"]
            desk.write(HOLD)
            await runtime.reload_policy()
            run = await runtime.resume(run.id)
    assert (only_call(run).status, done) == ("held", [])


async def test_broken_reviewers_leave_those_before_in_force(
    project: Callable[..., Project],
) -> None:
    done: list[int] = []
    desk = project(HOLD, done)
    with desk:
        async with desk.open() as runtime:
            run = await runtime.run(desk.agent(), "Please.")
            (desk.policies / "reviewers.yaml").write_text("reviewers: [{name: eve}]\n")
            with pytest.raises(PolicyError):
                await runtime.reload_policy()
            await runtime.approvals.approve(run.held[0].id, signer=desk.keys["ana"])
            run = await asyncio.wait_for(runtime.wait(run.id), timeout=20)
    assert (run.status, done) == ("finished", [5])


# --- two runtimes ------------------------------------------------------------------------


async def test_two_runtimes_on_one_store_may_go_by_different_policies_and_both_are_recorded(
    project: Callable[..., Project],
) -> None:
    done: list[int] = []
    desk = project(ALLOW, done)
    with desk:
        async with desk.open(take_up=False) as old:
            desk.write(DENY)
            async with desk.open(take_up=False) as new:
                one, other = await asyncio.gather(
                    old.run(desk.agent(), "Please."), new.run(desk.agent(), "Please.")
                )
                told = {event.bundle for event in chain(new)}
                assert told == {old.policy.bundle, new.policy.bundle}
                assert old.policy.bundle != new.policy.bundle
    assert (only_call(one).status, only_call(other).status) == ("finished", "denied")
