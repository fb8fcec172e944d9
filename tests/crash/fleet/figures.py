"""What a fleet did, and what the store and the server of effects say about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from agentrt import AuditStore
from tests.crash.fleet.world import World

__all__ = ["Figures", "judge"]


@dataclass
class Figures:
    """What was done, and what the store and the server of effects say about it."""

    runs: int
    workers: int
    kills: int = 0
    took_s: float = 0
    statuses: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    approvals: Counter[str] = field(default_factory=Counter)
    settled: int = 0
    lost: int = 0
    doubled: int = 0
    ran_though_not_approved: int = 0
    broken_chains: int = 0

    @property
    def good(self) -> bool:
        wrong = self.lost + self.doubled + self.ran_though_not_approved + self.broken_chains
        return not wrong and self.statuses == Counter(finished=self.runs)

    def lines(self) -> Iterator[str]:
        yield f"runs {self.runs}, workers {self.workers}, killed {self.kills} times"
        yield f"took {self.took_s:.0f} s, {self.runs / self.took_s:.1f} runs a second"
        yield f"runs: {_told(self.statuses)}"
        yield f"payments: {_told(self.calls)}; decisions: {_told(self.approvals)}"
        yield f"doubts settled: {self.settled}"
        yield (
            f"effects lost {self.lost}, doubled {self.doubled}, "
            f"run though not approved {self.ran_though_not_approved}, "
            f"chains broken {self.broken_chains}"
        )
        yield "every effect once" if self.good else "NOT every effect once"


def _told(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items())) or "none"


def judge(world: World, effects: Counter[str], figures: Figures) -> None:
    """Compare what the store claims with what the server of effects saw."""
    with AuditStore(world.store) as store:
        for row in store.runs():
            figures.statuses[row.status] += 1
            run = store.load(row.id)
            for call in run.all_calls:
                _judge_call(f"{run.id}:{call.id}", call.tool, call.status, effects, figures)
            for record in store.records(row.id):
                if record.event.type in ("call.approved", "call.rejected"):
                    figures.approvals[record.event.type.removeprefix("call.")] += 1
                figures.settled += record.event.type == "call.settled"
        figures.broken_chains = len(store.verify().findings)


def _judge_call(key: str, tool: str, status: str, effects: Counter[str], figures: Figures) -> None:
    if tool == "write_note":  # the callee makes repetition harmless: once or more is one note
        figures.lost += status == "finished" and effects[f"note:{key}"] == 0
        return
    if tool != "send_money":
        return
    figures.calls[status] += 1
    figures.lost += status == "finished" and effects[key] == 0
    figures.doubled += effects[key] > 1
    figures.ran_though_not_approved += status != "finished" and effects[key] > 0
