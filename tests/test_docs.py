"""The documentation says what is there, and shows what is printed."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from readme import README, executed, steady

import agentrt
from agentrt import errors
from agentrt.events import event_types

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def test_the_readmes_blocks_print_what_it_shows() -> None:
    with TemporaryDirectory() as home:  # a short path, since tables cut long ones
        for shown, printed in executed(README.read_text(), Path(home)):
            assert steady(printed) == steady(shown)


def test_every_public_name_is_documented() -> None:
    text = (DOCS / "python.md").read_text()
    missing = [name for name in agentrt.__all__ if f"`{name}`" not in text]
    assert missing == []


def test_every_event_and_every_field_of_it_is_documented() -> None:
    text = (DOCS / "events.md").read_text()
    sections = dict(re.findall(r"^## `([\w.]+)`\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert sections.keys() == event_types().keys()
    for name, event in event_types().items():
        rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|$", sections[name], re.MULTILINE))
        storage = {
            field: "header"
            if (kept := event.storage.get(field)) is None
            else ("content" if kept.erasable else "shared")
            for field in event.model_fields
            if field not in ("type", "cause")
        }
        assert rows == storage, name


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"([A-Z]\w+)", (errors.__doc__ or "").split("\n\n", 1)[1])
    for name in errors.__all__:
        assert name in drawn, name


@pytest.mark.parametrize(
    "module", [module.name for module in pkgutil.walk_packages(agentrt.__path__, "agentrt.")]
)
def test_every_module_says_what_it_is_and_has_the_names_it_exports(module: str) -> None:
    if module == "agentrt.__main__":
        pytest.skip("running it is what it is for")
    found = importlib.import_module(module)
    assert (found.__doc__ or "").strip(), module
    for name in getattr(found, "__all__", ()):
        assert hasattr(found, name), f"{module}.{name}"


@pytest.mark.parametrize("page", [*DOCS.rglob("*.md"), *ROOT.glob("*.md")], ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_the_changelog_speaks_of_this_version() -> None:
    assert f"## {agentrt.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    text = (DOCS / "decisions" / "0002-dependencies.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    for dependency in (*project["dependencies"], *chain.from_iterable(extras)):
        assert re.match(r"[\w.-]+", dependency)[0] in text  # type: ignore[index]


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = (
        "import sys, agentrt; "
        "print([n for n in ('anthropic', 'textual', 'sqlmodel', 'pydantic') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_package_lists_every_folder_it_needs() -> None:
    import tomllib

    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "agentrt").rglob("__init__.py")
    }
    assert folders | {"agentrt_policies", "agentrt_tools"} == set(setup["packages"])
