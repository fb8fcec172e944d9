import csv
import io
import json
import re
from contextlib import closing
from pathlib import Path

import pytest
from commands import PROMPT, Shop, a_shop

from agentrt.cli.csv_text import csv_line, safe_cell
from agentrt.cli.exits import Exit


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with a rejected refund and a held one."""
    shop = a_shop(tmp_path_factory.mktemp("shop"))
    shop.say("run", PROMPT, "--simulated", shop.script, "--on-hold", "reject")
    shop.say("run", PROMPT, "--user", "mona", "--simulated", shop.script)
    return shop


def test_a_query_answers_in_words_json_csv_and_ids(shop: Shop) -> None:
    line = "effect:irreversible decision:hold -decision:rejected since:1h"
    [row] = shop.json("audit", "query", line)
    assert (row["tool"], row["status"], row["user"]) == ("refund_order", "held", "mona")
    assert row["call"] in shop.say("audit", "query", line).stdout
    assert shop.say("audit", "query", line, "-q").stdout.strip() == row["call"]
    [read] = csv.DictReader(io.StringIO(shop.say("audit", "query", line, "--csv").stdout))
    assert read["call"] == row["call"]


def test_a_term_that_begins_with_a_minus_is_no_option(shop: Shop) -> None:
    rows = shop.json("audit", "query", "-tool:find_order", "-user:mona")
    assert [row["status"] for row in rows] == ["rejected"]


def test_pages_say_loudly_how_many_there_are_and_how_to_go_on(shop: Shop) -> None:
    first = shop.say("audit", "query", "-L", "3", "-q")
    assert "showing 3 of 4 calls" in first.stderr
    cursor = re.search(r"--after (\S+)", first.stderr)
    assert cursor is not None
    second = shop.say("audit", "query", "-L", "3", "-q", "--after", cursor[1])
    assert len({*first.stdout.split(), *second.stdout.split()}) == 4
    assert "showing" not in second.stderr


def test_a_mistake_is_shown_where_it_is(shop: Shop) -> None:
    result = shop.say("audit", "query", "tool:refund_order desicion:hold")
    assert result.exit_code == Exit.USAGE
    assert "Did you mean `decision`?" in result.stderr
    assert "\n  " + " " * 18 + "^" in result.stderr


def test_nothing_that_fits_says_what_may_be_meant(shop: Shop) -> None:
    result = shop.say("audit", "query", "tool:refund_ordre")
    assert result.exit_code == 0
    assert "Nothing fits." in result.stderr
    assert "did you mean 'refund_order'?" in result.stderr


def test_runs_are_found_by_what_was_said(shop: Shop) -> None:
    rows = shop.json("audit", "query", "is:run", '"charged twice"')
    assert [row["user"] for row in rows] == ["mona", None]


def test_the_index_can_be_made_anew(shop: Shop) -> None:
    said = shop.json("audit", "index", "--rebuild")
    assert said["entries"] == 6
    assert shop.json("audit", "index") == {"records": 0, "entries": 6}


def test_sql_reads_the_views(shop: Shop) -> None:
    statement = "SELECT tool, count(*) n FROM audit_calls GROUP BY tool ORDER BY tool"
    assert shop.json("audit", "sql", statement) == [
        {"tool": "find_order", "n": 2},
        {"tool": "refund_order", "n": 2},
    ]
    result = shop.say("audit", "sql", "-", "--csv", "-L", "1", input="SELECT call FROM audit_calls")
    assert result.stdout.splitlines()[0] == "call"
    assert "showing 1 of more than 1" in result.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM event",
        "UPDATE run SET status = 'x'",
        "DROP TABLE content",
        "DROP VIEW audit_calls",
        "INSERT INTO search_stale VALUES ('x')",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = DELETE",
        "ATTACH 'other.db' AS other",
        "CREATE TEMP TABLE t (x)",
        "SELECT load_extension('x')",
        "SELECT 1; DELETE FROM event",
        "VACUUM INTO 'copy.db'",
        "COMMIT",
        "nonsense",
    ],
)
def test_sql_can_do_nothing_but_read(shop: Shop, statement: str) -> None:
    before = shop.json("audit", "verify")
    result = shop.say("audit", "sql", statement)
    assert result.exit_code == Exit.USAGE
    assert "The database refuses" in result.stderr
    assert shop.json("audit", "verify") == before


def test_the_views_open_in_any_sqlite(shop: Shop) -> None:
    import sqlite3

    shop.say("audit", "index")
    path = shop.folder / "agentrt.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as other:
        found = other.execute("SELECT approvers, rejecters FROM audit_calls").fetchall()
    assert len(found) == 4


def test_a_project_without_a_store_is_told_so(tmp_path: Path) -> None:
    result = a_shop(tmp_path).say("audit", "query")
    assert "There is no audit store" in result.stderr


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", '"=1', " =HYPERLINK()", "\r=1", "\uff1d1"],
)
def test_no_cell_begins_a_formula(text: str) -> None:
    assert safe_cell(text).startswith(("'", "\\x"))


def test_a_cell_is_what_it_was_otherwise() -> None:
    values = ["plain", 5, -5, 0.5, None, True, "a,b", 'say "x"']
    [read] = csv.reader(io.StringIO(csv_line(values)))
    assert read == ["plain", "5", "-5", "0.5", "", "true", "a,b", 'say "x"']
    assert safe_cell("red\x1b[31m\u202e") == "red\\x1b[31m\\u202e"


def test_hostile_content_is_spelt_out_in_every_form(tmp_path: Path) -> None:
    shop = a_shop(tmp_path)
    prompt = "=cmd|'/c calc'!A1 \x1b]0;owned\x07 \u202egnp"
    shop.say("run", prompt, "--simulated", shop.script, "--on-hold", "reject")
    for options in ((), ("--csv",), ("--json",)):
        said = shop.say("audit", "query", "is:run", *options).stdout
        assert "\x1b" not in said
        assert "\u202e" not in said
        assert "\x07" not in said
    [row] = csv.DictReader(io.StringIO(shop.say("audit", "query", "is:run", "--csv").stdout))
    assert row["prompt"].startswith("'=")
    assert json.loads(shop.say("audit", "query", "is:run", "--json").stdout)
