"""A reviewer at the command line: the key, what is shown before a decision, what is asked."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from agentrt.approvals import KeyFile, Shown, group_digest, make_key, together
from agentrt.audit import AuditStore
from agentrt.cli.output import at_terminal, cell, left, narrate
from agentrt.cli.project import Project, key_path
from agentrt.cli.telling import DIGEST_SHOWN, asked_of, pretty, rules_told
from agentrt.errors import ProjectError
from agentrt.policy.explanation import rule_text
from agentrt.policy.rules import SEVERITIES
from agentrt.run import Run, ToolCall, explain
from agentrt.run.state import moment
from agentrt.run.why import readings
from agentrt.visible import hidden, visible

__all__ = [
    "DIGEST_MIN",
    "ask",
    "ask_what_became",
    "check_digest",
    "make_reviewer",
    "reviewer_key",
    "shown_lines",
]

DIGEST_MIN = 8
"""So many characters of a digest name it."""

REASON_MIN = 10
"""Characters of a reason for what is of high or critical severity."""

REVIEWERS_TEXT = """\
# Who may approve: names, roles and SSH keys. The role `owner` has every role; in a project of
# several people give each the roles that the rules ask for instead. See docs/policy.md.
reviewers:
  - name: {name}
    roles: [owner]
    keys: ["{key}"]
"""


def reviewer_key(project: Project, given: Path | None) -> KeyFile:
    """The key to decide with; in a project without reviewers, its owner's, made on first use."""
    key = make_reviewer(key_path(given), project.reviewers_file, may_make_key=given is None)
    if not project.reviewers_file.is_file():
        raise ProjectError(f"{project.reviewers_file} cannot be written.")
    return key


def make_reviewer(path: Path, reviewers_file: Path, *, may_make_key: bool = True) -> KeyFile:
    """The key at `path` and a reviewers file, each made if it is missing, which is said."""
    key = KeyFile(path)
    if not path.exists() and may_make_key:
        key = make_key(path, comment=_name())
        narrate(f"made your reviewer's key: {path}", bold=True)
    if not reviewers_file.exists():
        text = REVIEWERS_TEXT.format(name=_name(), key=key.public_key)
        reviewers_file.parent.mkdir(parents=True, exist_ok=True)
        with reviewers_file.open("x", encoding="utf-8") as file:
            file.write(text)
        narrate(f"wrote {reviewers_file}: {_name()} is its owner and may approve all", bold=True)
    return key


def _name() -> str:
    """The login name, as far as a reviewer can be called so."""
    return re.sub(r"[^A-Za-z0-9._+@-]", "", getpass.getuser()).lstrip("._+@-") or "owner"


def check_digest(text: str) -> str:
    """The digest as it was typed. Raises UsageError for one that is too short to mean anything."""
    if not re.fullmatch(f"[0-9a-f]{{{DIGEST_MIN},64}}", text):
        raise click.UsageError(
            f"--arguments takes the digest that `agentrt approvals view ID` prints, or at least "
            f"its first {DIGEST_MIN} characters."
        )
    return text


def ask(group: Sequence[Shown], store: AuditStore, reason: str, *, verb: str) -> str:
    """Show the calls at the terminal and ask as much as the severest demands; the reason.

    Raises UsageError where nobody can be asked, and Abort when the answer is no.
    """
    if not at_terminal():
        raise click.UsageError(
            f"A script has to name the arguments it means to {verb}: --arguments DIGEST, "
            f"which `agentrt approvals view {_meant(group)}` prints."
        )
    for line in shown_lines(group, store):
        click.echo(line, err=True)
    if verb == "reject":
        return reason or _prompt("reason, which Claude is told")
    match max((_severity(shown.call) for shown in group), key=_rank):
        case "low" | "medium":
            click.confirm(f"{verb} {_told(group)}?", abort=True, err=True)
        case "high":
            reason = reason or _prompt("reason", at_least=REASON_MIN)
            _retype("yes")
        case _:
            reason = reason or _prompt("reason", at_least=REASON_MIN)
            for tool in dict.fromkeys(shown.call.tool for shown in group):
                _retype(tool)
            _retype(group_digest(group)[:DIGEST_MIN])
    return reason


def ask_what_became(
    shown: Shown, store: AuditStore, happened: bool | None, reason: str
) -> tuple[bool, str]:
    """Show a call in doubt at the terminal and ask what became of it; that and the reason.

    Raises UsageError where nobody can be asked, and Abort when there is no answer.
    """
    call = shown.call
    if not at_terminal():
        raise click.UsageError(
            "A script has to name the arguments it means to settle: --arguments DIGEST, which "
            f"`agentrt approvals view {call.id}` prints, with --happened or --did-not-happen, "
            "and --reason."
        )
    for line in shown_lines([shown], store):
        click.echo(line, err=True)
    if happened is None:
        happened = click.confirm("did it happen?", default=None, err=True)
    reason = reason or _prompt("how you know", at_least=REASON_MIN)
    _retype("happened" if happened else "did not happen")
    return happened, reason


def _meant(group: Sequence[Shown]) -> str:
    """The calls as a command names them."""
    return f"{group[0].call.id}{' --group' if len(group) > 1 else ''}"


def _told(group: Sequence[Shown]) -> str:
    return group[0].call.id if len(group) == 1 else f"these {len(group)} calls"


def _severity(call: ToolCall) -> str:
    return call.approver.severity if call.approver else "high"


def _rank(severity: str) -> int:
    """A severity that nobody knows counts as the highest."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _prompt(text: str, *, at_least: int = 1) -> str:
    while len(said := str(click.prompt(text, err=True)).strip()) < at_least:
        narrate(f"at least {at_least} characters")
    return said


def _retype(word: str) -> None:
    if click.prompt(f"type {word} to go on", err=True, default="", show_default=False) != word:
        narrate("not the same: nothing was decided", bold=True)
        raise click.Abort


def shown_lines(group: Sequence[Shown], store: AuditStore) -> Iterator[str]:
    """All that is needed to decide these calls, or to see how one was decided."""
    first, *others = group
    if others:
        yield from _group_lines(group, store)
    else:
        yield from _call_lines(first, store)


def _call_lines(shown: Shown, store: AuditStore) -> Iterator[str]:
    run, call = shown.run, shown.call
    yield _heading(run, call)
    yield from _asked_by(run, call)
    yield from (_fact("CONTRADICTED", c.text) for c in run.contradictions if c.call == call.id)
    yield from _own_lines(call, store)
    yield from _others(shown)
    yield from _led_here(run, call, store)
    yield from _what_to_do([shown])


def _group_lines(group: Sequence[Shown], store: AuditStore) -> Iterator[str]:
    run, first = group[0].run, group[0].call
    yield f"{len(group)} calls that belong together: with --group one decision covers them all"
    yield from _asked_by(run, first)
    for shown in group:
        yield ""
        yield _heading(run, shown.call)
        yield from _own_lines(shown.call, store)
    yield ""
    yield from _led_here(run, first, store)
    yield _fact("digest", f"{group_digest(group)} (of all {len(group)})")
    yield from _what_to_do(group)


def _heading(run: Run, call: ToolCall) -> str:
    severity = f"  {call.approver.severity.upper()}" if call.approver else ""
    simulated = "  SIMULATED" if run.simulated else ""
    return f"{call.id}  {call.tool}  {call.status}{severity}{simulated}"


def _asked_by(run: Run, call: ToolCall) -> Iterator[str]:
    yield _fact("asked by", f"{run.agent} ({run.model}), run {run.id}, turn {call.turn}")
    yield _fact("for", f"{run.user.name} ({run.user.verified})" if run.user else "nobody named")


def _own_lines(call: ToolCall, store: AuditStore) -> Iterator[str]:
    """What is to be known of this call and of no other."""
    yield _fact("effect", ", ".join([call.effect, *call.labels]))
    yield from _why_lines(call, store)
    if call.status == "in doubt":
        yield from _doubt_lines(call, store)
    if call.preview:
        yield from _paragraph("will do", call.preview)
    yield _fact("digest", call.arguments_digest)
    yield _fact("arguments", _arguments_told(call))
    yield from (f"  {line}" for line in pretty(call.seen_arguments))
    yield from _asked_lines(call, store.clock())


def _doubt_lines(call: ToolCall, store: AuditStore) -> Iterator[str]:
    """All that is known of an attempt of which nobody knows whether it happened."""
    yield from _paragraph("in doubt", call.doubt)
    yield _fact("key", f"{call.key} (attempt {call.attempt})")
    yield _fact("started", f"{_time(call.started_at)} by {carrier_told(call.process, store)}")
    yield _fact("deadline", f"{_time(call.deadline_at)}{_gone_by(call, store)}")
    yield from _paragraph("check", call.check or "its tool has none, or it was never asked")
    for settlement in call.settlements:
        said = "happened" if settlement.happened else "did not happen"
        void = "" if settlement.holds else " (which does not count)"
        who = settlement.by or f"its {settlement.method}"
        yield _fact("settled", f"attempt {settlement.attempt} {said}, says {who}{void}")
    if not call.returned and store.may_run(call.process, until=call.deadline_at):
        yield _fact("", "IT MAY STILL HAPPEN: that it did not cannot be said yet")


def _gone_by(call: ToolCall, store: AuditStore) -> str:
    return ", which has passed" if store.clock() >= call.deadline_at else ""


def _time(at: int) -> str:
    return moment(at).isoformat(sep=" ", timespec="seconds")


def carrier_told(process: str, store: AuditStore) -> str:
    """A process, where it is or was as far as that is known, and whether it lives."""
    known = next((each for each in store.claims.present() if each.process == process), None)
    where = f" ({known.service} on {known.host})" if known else ""
    return f"{process}{where}, {'alive' if store.is_alive(process) else 'not alive'}"


def _others(shown: Shown) -> Iterator[str]:
    """The calls that one decision may cover together with this one."""
    group = together(shown)
    if len(group) == 1:
        return
    yield _fact("together", f"one of {len(group)} calls that belong together:")
    for other in group:
        if other != shown:
            arguments = cell(other.call.seen_arguments.decode(errors="replace"))
            yield _fact("", f"{other.call.id}  {other.call.tool}  {arguments}")
    yield _fact("", f"agentrt approvals view {shown.call.id} --group")


def _fact(name: str, text: str) -> str:
    return f"{name:<11} {visible(text)}"


def _paragraph(name: str, text: str) -> Iterator[str]:
    first, *others = visible(text, lines=True).splitlines() or [""]
    yield f"{name:<11} {first}"
    yield from (f"{'':<11} {line}" for line in others)


def _why_lines(call: ToolCall, store: AuditStore) -> Iterator[str]:
    yield from _paragraph(f"why {call.verdict}", call.reason)
    texts = store.bundle(call.bundle) or {}
    for rule in call.rules:
        yield _fact("rule", f"{rule.id} at {rule.file}:{rule.line} of {call.bundle[:12]}")
        yield from (f"  | {visible(line)}" for line in rule_text(rule, texts.get(rule.file, "")))
    if not call.rules:
        yield _fact("rule", rules_told(call.rules, call.basis))
    for read in readings(call.seen("facts")):
        yield from _paragraph("read", read)
    if call.changed:
        asked = (call.seen("asked") or b"").decode(errors="replace")
        yield from _paragraph("set", f"policy set {', '.join(call.changed)}; asked was {asked}")
    if call.awaiting:
        yield _fact("waits for", ", ".join(call.awaiting))


def _arguments_told(call: ToolCall) -> str:
    if not call.arguments_intact:
        return "NOT THOSE THAT WERE RECORDED: agentrt audit verify"
    try:
        data: Any = call.arguments_data
    except ValueError:
        data = call.arguments.decode(errors="replace")
    count = sum(hidden(text) for text in _texts(data))
    if count == 0:
        return "whole, no hidden characters"
    return f"whole, {count} HIDDEN CHARACTERS, spelt out below"


def _texts(value: Any) -> Iterator[str]:
    """Every text in JSON data, names of fields included."""
    match value:
        case str():
            yield value
        case dict():
            for name, item in value.items():
                yield from (name, *_texts(item))
        case list():
            for item in value:
                yield from _texts(item)
        case _:
            return


def _asked_lines(call: ToolCall, now: int) -> Iterator[str]:
    if call.approver is None:
        return
    said = ", ".join(approval.by for approval in call.approvals) or "nobody yet"
    yield _fact("waits for", f"{asked_of(call.approver)}; approved by {said}")
    if call.approver.four_eyes:
        yield _fact("", "not the user the run works for (four eyes)")
    if call.approver.reason_required:
        yield _fact("", "a reason is required")
    yield _fact("expires in", left(call.expires_at, now))


def _led_here(run: Run, call: ToolCall, store: AuditStore) -> Iterator[str]:
    yield "led here"
    for fact in explain(store.records(run.id), call.id).led_here:
        if fact.seq >= call.decided_seq > 0:
            break
        yield f"  {fact.seq:>4}  {visible(fact.text)}"
        for detail in fact.details:
            first, *more = visible(detail, lines=True).splitlines() or [""]
            yield f"        {first}"
            # Marked, so that a text of many lines cannot pass for lines of the story.
            yield from (f"        | {line}" for line in more)


def _what_to_do(group: Sequence[Shown]) -> Iterator[str]:
    call = group[0].call
    if call.status == "held":
        named = f"{_meant(group)} --arguments {group_digest(group)[:DIGEST_SHOWN]}"
        yield f'decide      agentrt approve {named} --reason "..."'
        yield f'            agentrt reject {named} --reason "..."'
    elif call.status == "in doubt":
        named = f'--arguments {call.arguments_digest[:DIGEST_SHOWN]} --reason "..."'
        yield f"decide      agentrt settle {call.id} --happened {named}"
        yield f"            agentrt settle {call.id} --did-not-happen {named}"
    yield f"more        agentrt why {call.id}"
