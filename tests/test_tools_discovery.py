"""Finds tools, and says file and line when it cannot."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent

import pytest

from agentrt.errors import DuplicateTool, ProjectError, ToolDefinitionError
from agentrt.tools import Tool, Tools, discover, discovery, tool

ONE = """
    from agentrt.tools import tool

    @tool(effect="read")
    def get_{name}() -> str:
        return "{name}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tools"
    made.mkdir()
    return made


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(dedent(text))
    return file


def one(name: str) -> str:
    return dedent(ONE).format(name=name)


def test_every_file_of_the_folder_gives_its_tools_in_order_of_name(folder: Path) -> None:
    write(folder, "weather.py", one("weather"))
    write(folder, "orders.py", one("orders") + one("address"))
    found = discover(folder)
    assert list(found) == ["get_address", "get_orders", "get_weather"]
    assert found["get_weather"]() == "weather"
    assert found["get_weather"].source == f"{folder / 'weather.py'}:4"


def test_no_folder_asked_for_is_no_tools() -> None:
    assert dict(discover(None)) == {}


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="There is no folder"):
        discover(tmp_path / "nowhere")


def test_a_file_shadows_nothing_and_leaves_the_path_alone(folder: Path) -> None:
    write(folder, "email.py", "from email.message import EmailMessage\n" + one("mail"))
    write(folder, "sqlite3.py", "import sqlite3\nassert sqlite3.connect\n" + one("rows"))
    before, email = list(sys.path), sys.modules.get("email")
    assert list(discover(folder)) == ["get_mail", "get_rows"]
    assert sys.path == before
    assert sys.modules.get("email") is email
    assert "sqlite3" not in sys.modules or "tools" not in str(sys.modules["sqlite3"].__file__)


def test_files_with_an_underscore_are_for_the_others(folder: Path) -> None:
    write(folder, "_shared.py", one("shared"))
    write(folder, "orders.py", "from ._shared import get_shared\n" + one("orders"))
    assert list(discover(folder)) == ["get_orders"]


def test_an_imported_tool_belongs_to_where_it_was_defined(folder: Path) -> None:
    write(folder, "orders.py", "from agentrt_tools.clock import get_time\n" + one("orders"))
    assert list(discover(folder)) == ["get_orders"]


def test_a_module_may_list_what_it_offers(folder: Path) -> None:
    text = """
        from pathlib import Path
        from agentrt_tools.files import file_tools
        TOOLS = file_tools(Path("docs"))
    """
    write(folder, "docs.py", text)
    found = discover(folder)
    assert "read_file" in found
    assert found["read_file"].settings == {"root": "docs"}


def test_dataclasses_and_types_of_a_file_resolve(folder: Path) -> None:
    text = """
        from __future__ import annotations
        from dataclasses import dataclass
        from agentrt.tools import tool

        @dataclass
        class Point:
            x: int

        @tool(effect="read")
        def get_point(point: Point) -> Point:
            return point
    """
    write(folder, "points.py", text)
    made = discover(folder)["get_point"]
    assert made.complete({"point": {"x": 1}}) == {"point": {"x": 1}}


def test_a_folder_is_read_again_each_time(folder: Path) -> None:
    write(folder, "orders.py", one("orders"))
    before = discover(folder)
    write(folder, "orders.py", one("orders") + "\nLATER = 1\n" + one("more"))
    assert list(discover(folder)) == ["get_more", "get_orders"]
    assert list(before) == ["get_orders"]


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("import nothing_of_this_name\n", 1, "ModuleNotFoundError"),
        ("x = 1\ny = x / 0\n", 2, "ZeroDivisionError"),
        ("x = 1\n\ndef f(:\n", 3, "SyntaxError"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(
    folder: Path, text: str, line: int, cause: str
) -> None:
    file = write(folder, "broken.py", text)
    with pytest.raises(ProjectError) as raised:
        discover(folder)
    assert str(raised.value).startswith(f"{file}:{line} cannot be imported: {cause}")
    assert raised.value.__cause__ is not None


def test_a_function_that_cannot_be_a_tool_keeps_its_own_error(folder: Path) -> None:
    write(folder, "broken.py", "from agentrt.tools import tool\n\n@tool\ndef act(x): ...\n")
    with pytest.raises(ToolDefinitionError, match=r"broken\.py:3.*parameter `x`"):
        discover(folder)


def test_a_file_name_that_is_no_module_name_is_an_error_or_a_module(folder: Path) -> None:
    write(folder, "my-orders.py", one("orders"))
    assert list(discover(folder)) == ["get_orders"]
    write(folder, "a.b.py", one("other"))
    with pytest.raises(ProjectError, match=r"a\.b\.py"):
        discover(folder)


def test_two_tools_of_one_name_name_both_places(folder: Path) -> None:
    first = write(folder, "a.py", one("orders"))
    second = write(folder, "b.py", one("orders"))
    with pytest.raises(DuplicateTool) as raised:
        discover(folder)
    assert f"{first}:4" in str(raised.value)
    assert f"{second}:4" in str(raised.value)


def test_one_file_found_twice_is_one_tool(folder: Path) -> None:
    write(folder, "orders.py", one("orders"))
    found = [*discover(folder).values(), *discover(folder).values()]
    assert found[0] is not found[1]
    assert list(Tools(found)) == ["get_orders"]


def test_one_factory_used_twice_is_not_one_tool() -> None:
    from agentrt_tools.files import file_tools

    with pytest.raises(DuplicateTool):
        Tools([*file_tools(Path("a")), *file_tools(Path("b"))])


def test_the_shelf_is_found_through_its_entry_points_and_in_its_folder() -> None:
    shelf = Path(__file__).parent.parent / "tools"
    assert list(discover(shelf, entry_points=True)) == list(discover(shelf))


def offer(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint(name="mine", value=value, group=discovery.ENTRY_POINT_GROUP)
    monkeypatch.setattr(discovery, "entry_points", lambda group: [point])


@tool(effect="read")
def get_one() -> int:
    return 1


@tool(effect="read")
def get_two() -> int:
    return 2


both = [get_one, get_two]
strange = [get_one, 3]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (__name__, ["get_one", "get_two"]),
        (f"{__name__}:get_one", ["get_one"]),
        (f"{__name__}:both", ["get_one", "get_two"]),
    ],
)
def test_an_entry_point_is_a_module_a_tool_or_a_list(
    monkeypatch: pytest.MonkeyPatch, value: str, names: list[str]
) -> None:
    offer(monkeypatch, value)
    assert list(discover(None, entry_points=True)) == names


@pytest.mark.parametrize(
    "value", ["nothing_of_this_name", f"{__name__}:strange", f"{__name__}:ONE"]
)
def test_an_entry_point_that_gives_no_tools_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    offer(monkeypatch, value)
    with pytest.raises(ProjectError, match=f"Entry point mine = {value}"):
        discover(None, entry_points=True)


def test_a_set_of_tools_is_a_mapping_that_nobody_changes() -> None:
    tools = Tools([get_two, get_one])
    assert list(tools.items()) == [("get_one", get_one), ("get_two", get_two)]
    assert len(tools) == 2
    assert repr(tools) == "Tools(get_one, get_two)"
    assert isinstance(tools["get_one"], Tool)
    with pytest.raises(TypeError):
        tools["get_one"] = get_two  # type: ignore[index]
