"""What many tests start from."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from worlds import Desk, a_policy

from agentrt.approvals import KeyFile, make_key
from agentrt.audit import AuditStore

# Commands keep keys and what they saw of stores in the user's folders: these are not the user's.
_HOME = tempfile.TemporaryDirectory(prefix="agentrt-tests-")
for _name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
    os.environ[_name] = str(Path(_HOME.name) / _name)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, KeyFile]:
    """Keys of people: ana and bob review, eve does not."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_key(folder / name, comment=name) for name in ("ana", "bob", "eve")}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AuditStore]:
    with AuditStore(tmp_path / "agentrt.db") as opened:
        yield opened


@pytest.fixture
def desk(tmp_path: Path, keys: dict[str, KeyFile]) -> Iterator[Desk]:
    """A desk at which ana (owner) and bob (lead) decide."""
    policy = a_policy({"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("lead",))})
    opened = Desk(tmp_path / "desk.db", policy)
    yield opened
    opened.store.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests counted: kills, races, inputs tried."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "figures":
                terminalreporter.write_line(f"{report.location[2]}: {value}")
