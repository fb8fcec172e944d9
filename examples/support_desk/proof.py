"""The proof: what database, mailbox and audit store say after the story was told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from email.message import EmailMessage

from agentrt import Run, ToolCall
from agentrt.audit import AuditStore
from examples.support_desk.world import CUSTOMER, RefundRow, World

__all__ = ["Fact", "Proof", "look"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that has to be so, and whether it is."""

    text: str
    ok: bool


@dataclass(frozen=True)
class Proof:
    """Everything that was found, each in the place where it would hurt."""

    run: Run
    refunds: Sequence[RefundRow]
    mails: Sequence[EmailMessage]
    findings: Sequence[str]
    """What is wrong with the records of the audit store."""
    records: int

    @property
    def refund_calls(self) -> list[ToolCall]:
        """The calls of the run that asked for a refund."""
        return [call for call in self.run.all_calls if call.tool == "refund_payment"]

    def evidence(self) -> str:
        """What lies in the database and in the mailbox, as it lies there."""
        rows = [
            "sqlite> SELECT * FROM refund;",
            *("|".join(map(str, astuple(row))) for row in self.refunds),
        ]
        return "\n".join([*rows, *(f"\n{_mail_text(mail)}" for mail in self.mails)])

    def facts(self, *, decided: bool = True) -> Iterator[Fact]:
        """What has to be so at the end of the story, whichever way the reviewer decided.

        Without a decision the run waits, and nothing has left the house.
        """
        status = self.run.status
        yield Fact(f"the run is {status}", status == ("finished" if decided else "waiting"))
        calls = [call for call in self.refund_calls if call.approvals or call.closed_by]
        yield Fact(f"a reviewer decided on {_count(calls, 'refund')}", len(calls) == int(decided))
        yield self._refunded()
        to = [mail["To"] for mail in self.mails]
        sent = f"{_count(to, 'mail')} in the mailbox, to {', '.join(to) or 'nobody'}"
        yield Fact(sent, to == [CUSTOMER] * int(decided))
        yield Fact(
            f"{self.records} records in the audit store, "
            f"{_count(self.findings, 'finding')} when they were verified",
            not self.findings,
        )

    def _refunded(self) -> Fact:
        """Each approved call refunded exactly once, and nothing else did."""
        approved = sorted(call.key for call in self.refund_calls if call.approvals)
        found = sorted(refund.key for refund in self.refunds)
        what = f"{_count(found, 'refund')} in the database, {len(approved)} approved"
        return Fact(what, found == approved)


def look(world: World, store: AuditStore, run: str) -> Proof:
    """Look into all three places."""
    verified = store.verify()
    return Proof(
        run=store.load(run),
        refunds=world.refunds(),
        mails=world.mails(),
        findings=[str(finding) for finding in verified.findings],
        records=verified.records,
    )


def _mail_text(mail: EmailMessage) -> str:
    heads = [f"{name}: {mail[name]}" for name in ("From", "To", "Subject", "Message-ID")]
    return "\n".join([*heads, "", mail.get_content()])


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
