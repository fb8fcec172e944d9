import re
from pathlib import Path
from typing import get_args

import pytest

from agentrt.agent import Agent, Effort
from agentrt.cli.project import (
    AGENT_KEYS,
    CHOICES,
    NOTIFY_KEYS,
    PROJECT_KEYS,
    Project,
    key_path,
)
from agentrt.errors import NotFound, ProjectError

DOCS = Path(__file__).parent.parent / "docs" / "configuration.md"

DESK = '[agents.desk]\nmodel = "claude-sonnet-5-5"\n'


def project(folder: Path, text: str = DESK) -> Project:
    (folder / "agentrt.toml").write_text(text)
    return Project.find(folder)


def test_an_empty_file_is_a_project_with_defaults(tmp_path: Path) -> None:
    found = project(tmp_path, "")
    assert found.environment == "development"
    assert found.store == tmp_path / "agentrt.db"
    assert found.policies == tmp_path / "policies"
    assert found.installed_tools is True


def test_it_is_found_from_any_folder_below(tmp_path: Path) -> None:
    project(tmp_path)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert Project.find(deep).folder == tmp_path


def test_without_one_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="agentrt init"):
        Project.find(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[project]\nstore = agentrt", r"agentrt\.toml:2:9: "),
        ("[projekt]\n", r"unknown key 'projekt'; did you mean 'project'\?$"),
        ('[project]\nstor = "x"\n', r"\[project\] unknown key 'stor'; did you mean 'store'"),
        ("[project]\nstore = 3\n", "store must be text in quotes"),
        ("[project]\ninstalled_tools = 1\n", "installed_tools must be true or false"),
        ("[agents]\ndesk = 1\n", r"write \[agents\.desk\]"),
        ("[agents.desk]\n", "has no model"),
        (DESK + "turns_max = true\n", "turns_max must be a whole number"),
        (DESK + "deadline_s = '1h'\n", "deadline_s must be a number"),
        (DESK + "tools = [1]\n", "tools must be a list such as"),
        (DESK + 'effort = "hard"\n', "effort is 'hard', not one of low, medium, high, xhigh, max"),
        (DESK + 'instructions = "a"\ninstructions_file = "b"\n', "keep one"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ProjectError, match=said):
        project(tmp_path, text)


def test_the_only_agent_needs_no_name_and_one_of_several_does(tmp_path: Path) -> None:
    assert project(tmp_path).agent(None).name == "desk"
    two = project(tmp_path, DESK + DESK.replace("desk", "shop"))
    with pytest.raises(ProjectError, match="Say --agent NAME; there are: desk, shop"):
        two.agent(None)
    assert two.agent("shop").name == "shop"


def test_an_agent_that_is_not_there_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="did you mean 'desk'"):
        project(tmp_path).agent("deks")


def test_tools_are_named_or_matched(tmp_path: Path) -> None:
    text = DESK + 'tools = ["get_time", "read_*"]\n'
    assert set(project(tmp_path, text).agent("desk").toolset) == {"get_time", "read_file"}


def test_a_pattern_that_fits_no_tool_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no tool is called 'get_tme'; did you mean 'get_time'"):
        project(tmp_path, DESK + 'tools = ["get_tme"]\n').agent("desk")


def test_installed_tools_can_be_left_out(tmp_path: Path) -> None:
    assert len(project(tmp_path, "[project]\ninstalled_tools = false\n").tools) == 0


def test_instructions_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "desk.md").write_text("Be kind.")
    text = DESK + 'instructions_file = "desk.md"\n'
    assert project(tmp_path, text).agent("desk").instructions == "Be kind."
    (tmp_path / "desk.md").unlink()
    with pytest.raises(ProjectError, match=r"\[agents\.desk\] instructions_file"):
        project(tmp_path, text).agent("desk")


def test_every_agent_key_is_one_that_an_agent_takes() -> None:
    fields = set(Agent.__dataclass_fields__) - {"name", "toolset"}
    assert set(AGENT_KEYS) - {"instructions_file"} == fields
    assert set(CHOICES["effort"]) == set(get_args(Effort))


@pytest.mark.parametrize("key", sorted({key for keys in NOTIFY_KEYS.values() for key in keys}))
def test_every_key_of_a_target_is_documented(key: str) -> None:
    text = (DOCS.parent / "notifications.md").read_text()
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"(?m)^\| (.*?) \|", text)))
    assert key in named


@pytest.mark.parametrize("key", [*PROJECT_KEYS, *AGENT_KEYS])
def test_every_key_is_documented(key: str) -> None:
    assert f"| `{key}` |" in DOCS.read_text()


def test_the_documented_file_is_taken(tmp_path: Path) -> None:
    text = DOCS.read_text().partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "support.md").write_text("You help customers.")
    agent = project(tmp_path, text).agent("support")
    assert agent.tokens_max == 2048
    assert agent.instructions == "You help customers."


def test_the_key_is_the_given_one_then_the_environments_then_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AGENTRT_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert key_path() == tmp_path / "agentrt" / "reviewer_ed25519"
    monkeypatch.setenv("AGENTRT_KEY", str(tmp_path / "mine"))
    assert key_path() == tmp_path / "mine"
    assert key_path(tmp_path / "given") == tmp_path / "given"
