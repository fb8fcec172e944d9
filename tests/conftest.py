"""What many tests start from."""

import atexit
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import chance
import pytest
from servers import Server, stores_on
from worlds import Desk, a_policy

from agentrt.approvals import KeyFile, make_key
from agentrt.audit import AuditStore

# Commands keep keys and what they saw of stores in the user's folders: these are not the user's.
_HOME = tempfile.TemporaryDirectory(prefix="agentrt-tests-")
atexit.register(_HOME.cleanup)
for _name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
    os.environ[_name] = str(Path(_HOME.name) / _name)

chance.use_profile()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="The database of the stores; tests that look into a file are left out.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--store") == "sqlite":
        return
    looking = [item for item in items if item.get_closest_marker("sqlite")]
    config.hook.pytest_deselected(items=looking)
    items[:] = [item for item in items if not item.get_closest_marker("sqlite")]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server, for as long as the tests run."""
    with Server() as started:
        yield started


@pytest.fixture(autouse=True)
def database_of_stores(request: pytest.FixtureRequest) -> Iterator[None]:
    """With `--store postgresql` the store of each path is a database of its own on the server."""
    if request.config.getoption("--store") == "sqlite":
        yield
        return
    with stores_on(request.getfixturevalue("server")):
        yield


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
