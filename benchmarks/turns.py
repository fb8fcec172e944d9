"""What a turn costs: the three contenders in turn, again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.job import Job
from benchmarks.measurement import Measurement, measure
from benchmarks.spread import Spread, ratio
from benchmarks.standin import standin
from benchmarks.table import table

__all__ = ["flatness", "turns"]

NAMES = {"bare": "bare SDK loop", "agentrt": "agentrt", "requests": "the requests alone"}
WINDOWS = ((1, 20), (91, 110), (181, 199))
LAST = (200, 200)
"""By itself: what the end of a run costs is no growth of its turns."""

Measured = Mapping[str, Sequence[Measurement]]


def alternated(job: Job, url: str, rounds: int) -> Measured:
    """A B C, A B C, ...: what loads the machine for a while, loads all three."""
    found: dict[str, list[Measurement]] = {name: [] for name in NAMES}
    for _ in range(rounds):
        for name, measurements in found.items():
            measurements.append(measure(name, job, url=url))
    return found


# --- 20 turns ---------------------------------------------------------------------------------


def turns(rounds: int) -> str:
    """CPU, time and memory of 20 turns with one call a turn, and with eight."""
    with standin() as url:
        sections = [_section(Job(20, calls), url, rounds) for calls in (1, 8)]
    return "\n\n".join(sections)


def _section(job: Job, url: str, rounds: int) -> str:
    measured = alternated(job, url, rounds)
    calls = "one call" if job.calls == 1 else f"{job.calls} parallel calls"
    head = ["", "CPU ms per turn", "CPU ratio", "wall ms per turn", "wall ratio", "peak MB"]
    rows = [_row(name, measured) for name in NAMES]
    return f"### {job.turns} turns, {calls} a turn\n\n{table(head, rows)}"


def _row(name: str, measured: Measured) -> list[str]:
    cpu, cpu_ratio = _compared(name, measured, lambda m: m.cpu_ms_per_turn)
    wall, wall_ratio = _compared(name, measured, lambda m: m.wall_ms_per_turn)
    peak = Spread.of(m.peak_mb for m in measured[name])
    return [NAMES[name], cpu.shown(), cpu_ratio, wall.shown(), wall_ratio, f"{peak.median:.0f}"]


def _compared(
    name: str, measured: Measured, number: Callable[[Measurement], float]
) -> tuple[Spread, str]:
    ours = [number(m) for m in measured[name]]
    if name == "bare":
        return Spread.of(ours), "1"
    return Spread.of(ours), ratio(ours, [number(m) for m in measured["bare"]]).shown(2)


# --- 200 turns --------------------------------------------------------------------------------


def flatness(rounds: int) -> str:
    """CPU per turn early, in the middle and late in a run of 200 turns."""
    with standin() as url:
        measured = alternated(Job(200, 1), url, rounds)
    head = [
        "CPU ms per turn",
        *(f"turns {first} to {last}" for first, last in WINDOWS),
        "growth",
        "turn 200",
    ]
    rows = [_windows(NAMES[name], measured[name]) for name in NAMES]
    sizes = [_size(measured[name][0], name == "agentrt") for name in ("bare", "agentrt")]
    return f"### One run of 200 turns, one call a turn\n\n{table(head, [*rows, *sizes])}"


def _windows(name: str, measured: Sequence[Measurement]) -> list[str]:
    spreads = [Spread.of(m.cpu_ms_in(*window) for m in measured) for window in WINDOWS]
    growth = Spread.of(m.cpu_ms_in(*WINDOWS[-1]) - m.cpu_ms_in(*WINDOWS[0]) for m in measured)
    last = Spread.of(m.cpu_ms_in(*LAST) for m in measured)
    return [name, *(spread.shown() for spread in spreads), growth.shown(), last.shown(0)]


def _size(measurement: Measurement, ours: bool) -> list[str]:
    name = "agentrt" if ours else "bare SDK loop"
    means = [sum(measurement.body_bytes[a - 1 : b]) / (b - a + 1) / 1000 for a, b in WINDOWS]
    grown = means[-1] - means[0]
    return [f"kB per request, {name}", *(f"{mean:.0f}" for mean in means), f"{grown:.0f}", ""]
