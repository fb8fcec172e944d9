"""The shelf keeps to the rules it asks of others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentrt.tools import Tool, discover, lint

SHELF = discover(Path(__file__).parent.parent / "tools")


def test_the_shelf_has_these_tools_with_these_effects() -> None:
    assert {tool.name: tool.effect for tool in SHELF.values()} == {
        "delete_file": "irreversible",
        "draft_mail": "write",
        "execute_statement": "irreversible",
        "get_time": "read",
        "list_files": "read",
        "query_database": "read",
        "read_file": "read",
        "search_files": "read",
        "send_mail": "irreversible",
        "write_file": "write",
    }


@pytest.mark.parametrize("tool", SHELF.values(), ids=lambda tool: tool.name)
def test_the_linter_has_no_error_and_no_warning(tool: Tool) -> None:
    assert [finding for finding in lint(tool) if finding.severity != "note"] == []


@pytest.mark.parametrize("tool", SHELF.values(), ids=lambda tool: tool.name)
def test_every_irreversible_tool_can_be_asked_whether_it_happened(tool: Tool) -> None:
    assert (tool.check is not None) == (tool.effect == "irreversible")


def test_a_tool_that_is_not_configured_refuses_and_says_what_to_set() -> None:
    program = """
from agentrt.errors import ToolError
from agentrt_tools import files, sql
attempts = [
    lambda: files.read_file("a"),
    lambda: files.delete_file("a"),
    lambda: sql.query_database("SELECT 1", None),
    lambda: sql.execute_statement("DELETE FROM a", None),
]
for attempt in attempts:
    try:
        attempt()
    except ToolError as error:
        print(str(error).rpartition(" ")[2])
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AGENTRT_")}
    finished = subprocess.run(
        [sys.executable, "-c", program], env=clean, capture_output=True, text=True, check=True
    )
    assert finished.stdout.split() == ["AGENTRT_FILES_ROOT."] * 2 + ["AGENTRT_SQL_DATABASE."] * 2


def test_the_environment_configures_the_shelf(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    program = """
from agentrt_tools import files, mail, sql
print(files.read_file("a.txt"))
print(sql.query_database.settings["database"])
print(mail.send_mail.settings["host"], mail.send_mail.settings["port"])
"""
    settings = {
        "AGENTRT_FILES_ROOT": str(tmp_path),
        "AGENTRT_SQL_DATABASE": "shop.db",
        "AGENTRT_SMTP_URL": "smtps://ada:p%40ss@mail.example.com",
        "AGENTRT_MAIL_FROM": "ada@example.com",
    }
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.split("\n")[:3] == ["hello", "shop.db", "mail.example.com 465"]
