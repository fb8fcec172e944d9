"""The README's blocks, executed: `python tests/readme.py` writes what they print into it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(sh|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAM = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)

NOT_HERE = ("make demo", "pip install")
"""Blocks that set up what the test has already."""

CHANGES = (
    (r"(sim_)?[rc]_[0-9a-f]{16}", "ID"),
    (r"\bp_\d+_[0-9a-f]+", "PROCESS"),
    (r"_sim_[0-9a-f]{8,}", "_sim_ID"),
    (r"[0-9a-f]{64}", "DIGEST"),
    (r"\b[0-9a-f]{12}\b", "DIGEST"),
    (r"SHA256:[\w+/]{43}", "KEY"),
    (r"\d{4}-\d\d-\d\d", "DAY"),
    (r"\d\d:\d\d:\d\dZ?", "TIME"),
    (r"\d+(\.\d+)? m?s\b", "DURATION"),
    (r"agentrt( run| runs resume)?@[\w.-]+:\d+", "SERVICE"),
    (r"/[^ ]*/agentrt/reviewer_ed25519", "KEYFILE"),
)
"""What is another each time."""


@dataclass
class Shell:
    """Commands one after the other in one folder, as a person types them."""

    folder: Path
    home: Path

    def run(self, command: str) -> str:
        marked = f"{command}\nstatus=$?; pwd > {self.home}/where; exit $status"
        done = subprocess.run(
            ["bash", "-c", marked],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        self.folder = Path((self.home / "where").read_text().strip())
        return done.stdout.replace(f"{self.home}/", "~/").replace(gethostname(), "host")

    def _environment(self) -> dict[str, str]:
        kept = {"LANG": "C.UTF-8", "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "100"}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        mine = {"HOME": str(self.home), "XDG_CONFIG_HOME": f"{self.home}/.config"}
        return {**kept, "PATH": path, "LOGNAME": "ana", "USER": "ana", **mine}


def executed(text: str, home: Path) -> Iterator[tuple[str, str]]:
    """Each block of the README that is run, as it stands and as it should."""
    shell = Shell(home, home)
    for kind, body in BLOCK.findall(text):
        if any(words in body for words in NOT_HERE):
            continue
        yield body, _said_nothing(shell, body) if kind == "sh" else _told(shell, body)
    for program, said in PROGRAM.findall(text):
        (shell.folder / "program.py").write_text(program)
        yield said, _ran(shell)


def _ran(shell: Shell) -> str:
    said = shell.run("python program.py")
    assert "Traceback" not in said, said
    return said


def _said_nothing(shell: Shell, body: str) -> str:
    said = shell.run(body)
    assert said == "", f"this block says something:\n{body}\n{said}"
    return body


def _told(shell: Shell, body: str) -> str:
    commands = [line[2:] for line in body.splitlines() if line.startswith("$ ")]
    return "".join(f"$ {command}\n{_indented(shell.run(command))}" for command in commands)


def _indented(output: str) -> str:
    lines = (line.rstrip() for line in output.splitlines())
    return "".join(f"{line}\n" for line in lines)


def steady(text: str) -> str:
    """The text without what is another each time."""
    for pattern, word in CHANGES:
        text = re.sub(pattern, word, text)
    return text


def main() -> None:
    text = README.read_text()
    with TemporaryDirectory() as home:
        for body, now in executed(text, Path(home)):
            if steady(body) != steady(now):
                text = text.replace(body, now)
    README.write_text(text)


if __name__ == "__main__":
    main()
