"""The demo in four acts: a customer writes, the agent works, a person decides, all is checked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from agentrt import Run
from agentrt.run import explain
from examples.support_desk.desk import Desk
from examples.support_desk.proof import look
from examples.support_desk.story import Story
from examples.support_desk.world import CUSTOMER, REVIEWER

__all__ = ["play"]

SIMULATED = """\
SIMULATED: no key is used. What Claude says is in script.yaml, and a server on this machine
says it over the Messages API. All else is real: the policy, the approval and its signature,
the database, the mail over SMTP, the audit store."""

LIVE = "LIVE: Claude answers over the real API, and each request costs money."

SCREEN = """\
The refund is held. The review screen opens next: there `a` approves, `d` rejects, and `q`
comes back here."""

NO_SCREEN = f"""\
There is no terminal to ask a person on, or none was wanted. So the demo reviewer {REVIEWER}
decides, with the key made for this folder and the public API:"""


def play(desk: Desk, *, screen: bool, reject: bool) -> bool:
    """Whether everything came out as it was told.

    With `screen` a person decides on it; otherwise the demo reviewer approves, or rejects.
    """
    story = _opened(desk, screen=screen)
    story.head("1. A customer writes")
    story.say(desk.world.message)
    story.head("2. The agent works")
    run = asyncio.run(_begin(desk, story))
    while run.held:
        story.head("3. A person decides")
        before = run.seq
        _decide(desk, run, story, screen=screen, reject=reject)
        run = asyncio.run(_go_on(desk, run.id, story))
        if run.seq == before:
            story.say("Nobody decided: the call stays held, and nothing happens.")
            break
    # Who leaves the screen without a word has decided that nothing happens yet.
    return _prove(desk, run, story, decided=not (screen and run.held))


def _opened(desk: Desk, *, screen: bool) -> Story:
    live = desk.claude_url is None
    story = Story(
        speaker="claude" if live else "claude (simulated)",
        decider="you, on the review screen" if screen else "demo reviewer, public API",
    )
    story.say(LIVE if live else SIMULATED)
    return story


async def _begin(desk: Desk, story: Story) -> Run:
    async with desk.runtime() as runtime:
        await story.listen(runtime.stream(desk.agent, desk.world.message, user=CUSTOMER))
        [row] = runtime.store.runs()
        return runtime.store.load(row.id)


async def _go_on(desk: Desk, run: str, story: Story) -> Run:
    """Tell what has happened since, and carry the run on as far as it goes."""
    async with desk.runtime() as runtime:
        await story.listen(runtime.follow(run, wait=False))
        return runtime.store.load(run)


# --- a person decides ---------------------------------------------------------------------


def _decide(desk: Desk, run: Run, story: Story, *, screen: bool, reject: bool) -> None:
    if screen:
        story.say(SCREEN)
        input("\n    Press Enter to open it. ")
        _open_screen(desk, run)
    else:
        story.say(NO_SCREEN)
        asyncio.run(_decide_alone(desk, run, reject=reject))


async def _decide_alone(desk: Desk, run: Run, *, reject: bool) -> None:
    """What any program can do that holds a reviewer's key."""
    with desk.store() as store:
        queue, key = desk.queue(store), desk.world.key
        for call in run.held:
            if reject:
                reason = "the second payment has not arrived yet"
                await queue.reject(call.id, signer=key, reason=reason)
            else:
                reason = "the same amount twice on one day"
                await queue.approve(call.id, signer=key, reason=reason)


def _open_screen(desk: Desk, run: Run) -> None:
    """The review screen; behind it a runtime carries on what is decided there."""
    from agentrt.tui import run_app

    with _at_work(desk), desk.store() as store:
        run_app(store, desk.queue(store), desk.world.key, at=run.held[0].id)


@contextmanager
def _at_work(desk: Desk) -> Iterator[None]:
    """A runtime in a thread of its own: the screen needs the main one."""
    done = threading.Event()

    async def work() -> None:
        async with desk.runtime():
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(work(),), name="runtime")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


# --- all is checked -----------------------------------------------------------------------


def _prove(desk: Desk, run: Run, story: Story, *, decided: bool) -> bool:
    with desk.store() as store:
        proof = look(desk.world, store, run.id)
        story.head("4. What is there now")
        story.say(proof.evidence())
        for call in proof.refund_calls:
            story.head(f"5. Why was there a call of {call.tool}?  (agentrt why {call.id})")
            story.quote(explain(store.records(run.id), call.id).lines())
    story.head("6. Does it all agree?")
    facts = list(proof.facts(decided=decided))
    for fact in facts:
        story.say(f"{'ok    ' if fact.ok else 'FAILED'}  {fact.text}")
    return all(fact.ok for fact in facts)
