"""What policy costs: decisions beside other engines, loading, and decisions with a long history."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.engines import ENGINES, agentrt, seen
from benchmarks.questions import Past, Question, questions
from benchmarks.rulebook import Rulebook
from benchmarks.spread import Spread, ratio
from benchmarks.table import table

__all__ = ["policy"]

SIZES = {50: 10, 1_000: 100}
"""Rules, and the tools that they speak of."""
AIMS_US = {50: 25, 1_000: 100}
AIMS_MS = {"cold, with all checks": 1_000, "checked before": 100}
PASTS = (10, 10_000)
ASKED = 300


def policy(rounds: int) -> str:
    """All in processes of their own; engines that are not installed are left out."""
    parts = [_beside(rules, rounds) for rules in SIZES]
    return "\n\n".join([*parts, _loading(rounds), _with_history(rounds)])


def _beside(rules: int, rounds: int) -> str:
    names = [name for name, engine in ENGINES.items() if engine.is_installed]
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        told = {name: _measured("decisions", name, str(rules)) for name in names}
        _check_agreement(told)
        for name, said in told.items():
            taken[name].append(said["us"])
    ours = taken["agentrt"]
    head = ["", "CPU µs per decision", "agentrt's over it", "aim"]
    rows = [
        [_title(name), Spread.of(us).shown(), ratio(ours, us).shown(2), _aim(name, rules)]
        for name, us in taken.items()
    ]
    return f"### A decision with {rules:,} rules over {SIZES[rules]} tools\n\n{table(head, rows)}"


def _title(name: str) -> str:
    engine = ENGINES[name]
    return engine.name if name == "agentrt" else f"{engine.name} (`{engine.package}`)"


def _aim(name: str, rules: int) -> str:
    return f"under {AIMS_US[rules]}" if name == "agentrt" else ""


def _check_agreement(told: dict[str, Any]) -> None:
    """Raises RuntimeError when engines differ: then they were not asked the same."""
    if len({tuple(said["verdicts"]) for said in told.values()}) > 1:
        raise RuntimeError(f"The engines {', '.join(told)} do not decide alike.")


def _loading(rounds: int) -> str:
    told = [_measured("loading") for _ in range(rounds)]
    rows = [
        [name, Spread.of(one[name] for one in told).shown(0), f"under {aim}"]
        for name, aim in AIMS_MS.items()
    ]
    head = ["", "CPU ms", "aim"]
    return f"### Loading 1,000 rules over 100 tools\n\n{table(head, rows)}"


def _with_history(rounds: int) -> str:
    told = [_measured("history") for _ in range(rounds)]
    rows = [
        [f"{count:,} calls before", Spread.of(one[str(count)] for one in told).shown()]
        for count in PASTS
    ]
    head = ["", "CPU µs per decision"]
    return f"### A decision with 50 rules and a history\n\n{table(head, rows)}"


def _measured(*arguments: str) -> Any:
    """What a fresh process says. Raises CalledProcessError."""
    module = [sys.executable, "-m", "benchmarks.decisions", *arguments]
    done = subprocess.run(module, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


# --- in the fresh process ---------------------------------------------------------------------


def _decisions(name: str, rules: str) -> dict[str, Any]:
    rulebook = Rulebook(int(rules), SIZES[int(rules)])
    ready = ENGINES[name].prepare(rulebook)
    asks = [ready(question) for question in questions(rulebook, ASKED)]
    return {"us": _us(asks), "verdicts": [ask() for ask in asks]}


def _us(asks: Sequence[Callable[[], str]]) -> float:
    for ask in asks:  # warms up
        ask()
    began = time.process_time()
    for _ in range(10):
        for ask in asks:
            ask()
    return (time.process_time() - began) * 1e6 / (10 * len(asks))


def _loaded() -> dict[str, float]:
    from agentrt.policy import Policy
    from agentrt.policy.checked_before import CheckedBefore

    rulebook = Rulebook(1_000, SIZES[1_000])
    tools = [seen(tool) for tool in rulebook.tools]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "policies")
        folder.mkdir()
        (folder / "rules.yaml").write_text(rulebook.yaml)

        def load() -> None:
            Policy.load(folder, tools, cache=CheckedBefore(Path(name, "checked")))

        return dict(zip(AIMS_MS, _taken_ms(load, load), strict=True))


def _taken_ms(*steps: Callable[[], None]) -> Iterator[float]:
    for step in steps:
        _forget()
        began = time.process_time()
        step()
        yield (time.process_time() - began) * 1000


def _forget() -> None:
    """What a fresh process would not know: the conditions that were read before."""
    from agentrt.policy.bound import parsed

    parsed.cache_clear()


def _history() -> dict[str, float]:
    rulebook = Rulebook(50, SIZES[50])
    ready = agentrt(rulebook)
    return {str(count): _us([ready(one) for one in _after(rulebook, count)]) for count in PASTS}


def _after(rulebook: Rulebook, count: int) -> list[Question]:
    """A question about each tool, all of them after so many calls of the run."""
    names = [tool.name for tool in rulebook.tools]
    past = Past(tuple(names[at % len(names)] for at in range(count)), 0, ("lead",))
    asked = {question.tool: question for question in questions(rulebook, ASKED)}
    return [replace(question, past=past) for question in asked.values()]


MEASURED: dict[str, Callable[..., Any]] = {
    "decisions": _decisions,
    "loading": _loaded,
    "history": _history,
}


def main(what: str, *arguments: str) -> None:
    """Print what was measured as JSON."""
    print(json.dumps(MEASURED[what](*arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
