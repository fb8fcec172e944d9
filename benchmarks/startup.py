"""What it takes to begin: imports and commands, each in a fresh process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.job import Job
from benchmarks.spread import Spread
from benchmarks.standin import standin
from benchmarks.table import table

__all__ = ["startup"]

HEAVY = ("anthropic", "textual", "sqlmodel")
ALL_NAMES = "from agentrt import *"
AGENTRT = str(Path(sys.executable).with_name("agentrt"))

PROJECT = """
[project]
environment = "development"
store = "agentrt.db"
policies = "policies"
tools = "tools"
installed_tools = false
"""

COMMANDS: dict[str, tuple[Sequence[str], int | None]] = {
    "python -c pass": ([sys.executable, "-c", "pass"], None),
    "import anthropic": ([sys.executable, "-c", "import anthropic"], None),
    "import agentrt": ([sys.executable, "-c", "import agentrt"], 250),
    ALL_NAMES: ([sys.executable, "-c", ALL_NAMES], None),
    "agentrt --version": ([AGENTRT, "--version"], 100),
    "agentrt --help": ([AGENTRT, "--help"], 100),
    "agentrt approvals list": ([AGENTRT, "approvals", "list"], 500),
}
"""What is run, and the CPU milliseconds it is to stay under."""


def startup(rounds: int) -> str:
    """CPU of the whole process, the interpreter's own start included."""
    with tempfile.TemporaryDirectory() as folder:
        with standin() as url:
            subprocess.run([sys.executable, "-m", "benchmarks.startup", url, folder], check=True)
        rows = list(_rows(Path(folder), rounds))
    head = ["", "CPU ms", "aim", "peak MB"]
    loads = ", ".join(_loaded("import agentrt")) or "none"
    note = f"Of {', '.join(HEAVY)}, `import agentrt` loads: {loads}."
    return f"### Start\n\n{table(head, rows)}\n\n{note}"


def _rows(folder: Path, rounds: int) -> Iterator[list[str]]:
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, (command, _aim) in COMMANDS.items():
            taken[name].append(_run(command, folder))
    for name, (_command, aim) in COMMANDS.items():
        cpu_ms, peak_mb = zip(*taken[name][1:], strict=True)  # the first one fills the caches
        bound = f"at most {aim}" if aim else ""
        peak = f"{Spread.of(peak_mb).median:.0f}"
        yield [f"`{name}`", Spread.of(cpu_ms).shown(0), bound, peak]


def _run(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """CPU milliseconds and peak megabytes. Raises RuntimeError when the command fails."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {process.returncode}.")
    return (used.ru_utime + used.ru_stime) * 1000, used.ru_maxrss / 1024


def _loaded(statement: str) -> list[str]:
    code = f"{statement}\nimport sys\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().split()


async def make_project(url: str, folder: str) -> None:
    """A project with eight held calls in its store."""
    from agentrt import Agent, Runtime, tool
    from agentrt.claude import Claude
    from benchmarks.job import FUNCTIONS, MODEL

    home = Path(folder)
    (home / "tools").mkdir()
    (home / "policies").mkdir()
    (home / "policies" / "all.yaml").write_text("default: {read: hold}\n")
    (home / "agentrt.toml").write_text(PROJECT)
    agent = Agent(name="shop", model=MODEL, tools=[tool(effect="read")(f) for f in FUNCTIONS])
    claude = Claude.scripted(url)
    store, policy = home / "agentrt.db", home / "policies"
    async with Runtime(store=store, policy=policy, agents=[agent], claude=claude) as runtime:
        run = await runtime.run(agent, Job(2, 8).prompt)
        assert len(run.held) == 8, run.status
    await claude.close()


if __name__ == "__main__":
    asyncio.run(make_project(*sys.argv[1:]))
