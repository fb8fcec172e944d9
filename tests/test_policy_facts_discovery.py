from pathlib import Path

import pytest

from agentrt.errors import FactDefinitionError, ProjectError
from agentrt.policy.facts.discovery import discover_facts

PAID = '''\
from agentrt.policy import fact
from agentrt.policy.facts import DecidedCall


@fact("run.paid", collect="count")
def paid(call: DecidedCall) -> bool:
    """How many were paid."""
    return call.tool == "pay"
'''

OWN = """\
from agentrt.events import FactStated
from agentrt.policy import Fact
from agentrt.policy.cel import INT

from . import _more

own = Fact("run.own", INT, "Own.", (FactStated,), 0, _more.count, lambda state, _now: state)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, text: str, name: str = "facts.py") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_folder_without_the_file_has_no_facts(folder: Path) -> None:
    assert discover_facts(folder) == ()


def test_every_fact_that_the_file_defines_is_found(folder: Path) -> None:
    write(folder, PAID)
    (found,) = discover_facts(folder)
    assert (found.name, str(found.type), found.about) == ("run.paid", "int", "How many were paid.")
    assert "def paid(call" in found.source


def test_the_code_of_a_fold_of_ones_own_is_all_of_its_file(folder: Path) -> None:
    write(folder, "def count(state, record):\n    return state + 1\n", "_more.py")
    write(folder, OWN)
    (found,) = discover_facts(folder)
    assert found.source == OWN


def test_a_file_that_lists_its_facts_offers_just_these(folder: Path) -> None:
    write(folder, f"{PAID}\nFACTS = []\n")
    assert discover_facts(folder) == ()
    write(folder, f"{PAID}\nFACTS = paid\n")
    assert [fact.name for fact in discover_facts(folder)] == ["run.paid"]
    file = write(folder, f"{PAID}\nFACTS = [paid, 1]\n")
    with pytest.raises(FactDefinitionError, match=f"{file}: FACTS should be a list of facts"):
        discover_facts(folder)


def test_a_mistake_is_told_with_file_and_line(folder: Path) -> None:
    file = write(folder, PAID.replace('    """How many were paid."""\n', ""))
    with pytest.raises(FactDefinitionError, match=f"^{file}:5: run.paid has no docstring"):
        discover_facts(folder)
    file = write(folder, f"{PAID}\n1 / 0\n")
    with pytest.raises(ProjectError, match=f"^{file}:10 cannot be imported: ZeroDivisionError"):
        discover_facts(folder)


def test_the_newest_text_of_the_file_counts(folder: Path) -> None:
    write(folder, PAID)
    discover_facts(folder)
    write(folder, PAID.replace("run.paid", "run.paid_now"))
    assert [fact.name for fact in discover_facts(folder)] == ["run.paid_now"]
