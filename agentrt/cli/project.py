"""A project: a folder with agentrt.toml, and the parts that it names, made when they are needed.

Only the command line reads this file and the environment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agentrt.cli.output import narrate, warn_of_store
from agentrt.errors import NotFound, ProjectError, StoreCorrupt

# Read by every command, so what is heavy is loaded by the part that needs it.
if TYPE_CHECKING:
    from agentrt.agent import Agent
    from agentrt.audit import AuditStore
    from agentrt.audit.keys import SigningKey
    from agentrt.audit.seen import Seen
    from agentrt.carriers import Carrier
    from agentrt.notifications import Target
    from agentrt.policy import Fact, Policy, PrivacyRules, Reviewers
    from agentrt.privacy import Secrets
    from agentrt.runtime import Load
    from agentrt.tools import Tool, Tools

__all__ = [
    "AGENT_KEYS",
    "CHOICES",
    "FILE_NAME",
    "LIMIT_KEYS",
    "NOTIFY_KEYS",
    "PRIVACY_KEYS",
    "PROJECT_KEYS",
    "WORKER_KEYS",
    "Project",
    "key_path",
]

FILE_NAME = "agentrt.toml"

PROJECT_KEYS: Mapping[str, tuple[type, ...]] = {
    "environment": (str,),
    "store": (str,),
    "policies": (str,),
    "tools": (str,),
    "installed_tools": (bool,),
    "runtime_key": (str,),
}

AGENT_KEYS: Mapping[str, tuple[type, ...]] = {
    "model": (str,),
    "instructions": (str,),
    "instructions_file": (str,),
    "tools": (list,),
    "tokens_max": (int,),
    "turns_max": (int,),
    "deadline_s": (int, float),
    "effort": (str,),
    "thinking": (dict,),
    "cache": (str,),
}

LIMIT_KEYS: Mapping[str, tuple[type, ...]] = {
    "runs_waiting": (int,),
    "appends_waiting": (int,),
    "runs_per_user": (int,),
    "runs_per_agent": (int,),
}

WORKER_KEYS: Mapping[str, tuple[type, ...]] = {
    "concurrency": (int,),
    "carrier": (str,),
    "grace_s": (int, float),
}

NOTIFY_KEYS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "command": {"command": (list,), "timeout_s": (int, float)},
    "webhook": {"url": (str,), "secret_env": (str,), "timeout_s": (int, float)},
    "mail": {
        "server": (str,),
        "port": (int,),
        "tls": (str,),
        "from": (str,),
        "to": (list,),
        "user": (str,),
        "password_env": (str,),
        "timeout_s": (int, float),
    },
}
"""The keys of each kind of target; `kind` and `events` are those of all."""

PRIVACY_KEYS: Mapping[str, tuple[type, ...]] = {
    "secrets": (list,),
}

CHOICES: Mapping[str, tuple[str, ...]] = {
    "carrier": ("embedded", "procrastinate"),
    "effort": ("low", "medium", "high", "xhigh", "max"),
    "cache": ("5m", "1h"),
}

_TYPE_WORDS = {
    str: "text in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: 'a list such as ["get_time", "read_*"]',
    dict: "a table",
}


@dataclass(frozen=True)
class Project:
    """What agentrt.toml says. The parts are made when they are first asked for."""

    file: Path
    environment: str
    store: Path | str
    """The file of the audit store, or the URL of a PostgreSQL database."""
    policies: Path
    tools_folder: Path
    installed_tools: bool
    agent_tables: Mapping[str, Mapping[str, Any]]
    limits: Mapping[str, int]
    workers: Mapping[str, Any]
    privacy_table: Mapping[str, Any]
    notifications: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The targets by name."""
    runtime_key_path: Path | None = None
    """Where the file says that the runtime's key is."""

    @classmethod
    def find(cls, start: Path) -> Self:
        """The project that `start` is in. Raises ProjectError when there is none, or a bad one."""
        here = start.resolve()
        for folder in (here, *here.parents):
            if (folder / FILE_NAME).is_file():
                return cls.load(folder / FILE_NAME)
        raise ProjectError(
            f"There is no {FILE_NAME} in {here} or above it. `agentrt init` makes a project; "
            "`agentrt -C FOLDER` names one."
        )

    @classmethod
    def load(cls, file: Path) -> Self:
        """The project of this file. Raises ProjectError with the place of the mistake."""
        data = _read(file)
        tables = ("project", "agents", "limits", "workers", "notifications", "privacy")
        _check_keys(file, "", data, dict.fromkeys(tables, (dict,)))
        project, agents = data.get("project", {}), data.get("agents", {})
        _check_keys(file, "project", project, PROJECT_KEYS)
        for name, table in agents.items():
            _check_agent(file, name, table)
        limits, workers = data.get("limits", {}), data.get("workers", {})
        _check_numbers(file, "limits", limits, LIMIT_KEYS)
        _check_numbers(file, "workers", workers, WORKER_KEYS)
        _check_choices(file, "workers", workers)
        privacy = data.get("privacy", {})
        _check_keys(file, "privacy", privacy, PRIVACY_KEYS)
        return cls(
            file=file,
            environment=project.get("environment", "development"),
            store=_store(file, project),
            policies=file.parent / project.get("policies", "policies"),
            tools_folder=file.parent / project.get("tools", "tools"),
            installed_tools=project.get("installed_tools", True),
            agent_tables=agents,
            limits=limits,
            workers=workers,
            notifications=_notifications(file, data),
            privacy_table=privacy,
            runtime_key_path=file.parent / stated
            if (stated := project.get("runtime_key"))
            else None,
        )

    @property
    def folder(self) -> Path:
        """Where agentrt.toml is."""
        return self.file.parent

    @property
    def reviewers_file(self) -> Path:
        """Who may approve."""
        return self.policies / "reviewers.yaml"

    @cached_property
    def tools(self) -> Tools:
        """The tools of the project and, if it wants them, of installed packages."""
        from agentrt.tools import discover

        folder = self.tools_folder if self.tools_folder.is_dir() else None
        return discover(folder, entry_points=self.installed_tools)

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """The project's own facts, which are in `facts.py` beside the policy.

        Raises FactDefinitionError or ProjectError.
        """
        from agentrt.policy.facts.discovery import discover_facts

        return discover_facts(self.policies)

    @cached_property
    def policy(self) -> Policy:
        """The policy, checked against the tools. Raises PolicyError."""
        from agentrt.policy import Policy
        from agentrt.policy.checked_before import CheckedBefore

        cache = CheckedBefore(_cache_folder() / "checked")
        return Policy.load(self.policies, self.tools.values(), facts=self.facts, cache=cache)

    def policy_in(self, folder: Path) -> Policy:
        """The policy of another folder, with the facts beside it, or else the project's."""
        from agentrt.policy import Policy
        from agentrt.policy.facts.discovery import discover_facts

        facts = discover_facts(folder) or self.facts
        return Policy.load(folder, self.tools.values(), facts=facts)

    @cached_property
    def reviewers(self) -> Reviewers:
        """Who may approve, read without loading a tool. Raises PolicyError."""
        from agentrt.policy import REVIEWERS_FILE, Policy, Reviewers

        if not self.reviewers_file.is_file():
            return Reviewers()
        text = self.reviewers_file.read_text(encoding="utf-8")
        return Policy.parse({REVIEWERS_FILE: text}).reviewers

    @cached_property
    def agents(self) -> Mapping[str, Agent]:
        """Every agent by name. Raises ProjectError or ModelRefused."""
        return {name: self._agent(name) for name in self.agent_tables}

    def agent(self, name: str | None) -> Agent:
        """The agent of this name; None means the only one. Raises NotFound or ProjectError."""
        if name is None:
            if len(self.agent_tables) != 1:
                raise ProjectError(f"Which agent? Say --agent NAME; there are: {self._names()}.")
            name = next(iter(self.agent_tables))
        if name not in self.agent_tables:
            near = _nearest(name, self.agent_tables)
            raise NotFound(
                f"{self.file} has no agent {name!r}{near or '.'} It has: {self._names()}."
            )
        return self._agent(name)

    def load_of(self, concurrency: int | None = None) -> Load:
        """How much is done at once, by the file or else by the default."""
        from agentrt.runtime import Load

        stated = {"runs_at_once": self.workers.get("concurrency"), **self.limits}
        stated |= {} if concurrency is None else {"runs_at_once": concurrency}
        return Load(**{name: value for name, value in stated.items() if value is not None})

    @cached_property
    def carrier(self) -> Carrier:
        """What carries jobs between processes, by the file or else by the kind of the store.

        Raises ProjectError when it cannot be used with this store.
        """
        from agentrt.audit import is_url
        from agentrt.carriers import Embedded

        kind = self.workers.get("carrier") or (
            "procrastinate" if is_url(self.store) else "embedded"
        )
        if kind == "embedded":
            return Embedded()
        if not is_url(self.store):
            raise ProjectError(
                f"{self.file}: [workers] carrier is {kind!r}, which needs a store on PostgreSQL."
            )
        from agentrt.carriers.procrastinate import Procrastinate

        return Procrastinate(str(self.store))

    @cached_property
    def notify(self) -> tuple[Target, ...]:
        """Who is told what waits. Raises ProjectError."""
        from agentrt.cli.targets import target_of

        return tuple(
            target_of(self.file, name, table) for name, table in self.notifications.items()
        )

    @cached_property
    def privacy(self) -> PrivacyRules:
        """What policies/privacy.yaml says, read without loading a tool. Raises PolicyError."""
        from agentrt.policy import PRIVACY_FILE, Policy, PrivacyRules

        file = self.policies / PRIVACY_FILE
        if not file.is_file():
            return PrivacyRules()
        return Policy.parse({PRIVACY_FILE: file.read_text(encoding="utf-8")}).privacy

    @cached_property
    def secrets(self) -> frozenset[str]:
        """Values of the environment and of the file that no record and no reply may show."""
        from agentrt.cli.known_secrets import known_secrets

        named = self.privacy_table.get("secrets", [])
        return known_secrets(os.environ, named=named, locations=[str(self.store)])

    def known(self) -> Secrets:
        """The same as what masks them in what people write."""
        from agentrt.privacy import Secrets

        return Secrets(self.secrets)

    def open_store(self, *, read_only: bool = True, create: bool = False) -> AuditStore:
        """The audit store. Raises StoreUnavailable and other StoreErrors."""
        from agentrt.audit import AuditStore

        store = AuditStore(self.store, create=create, read_only=read_only)
        if not read_only:
            store.bell = self.carrier  # so that a decision here is heard where runs are carried
        try:
            self._look_back(store)
        except StoreCorrupt as error:
            if not read_only:
                store.close()
                raise
            warn_of_store(error)
        return store

    def check_store(self) -> None:
        """Hold the store to the last checkpoint that was seen of it. Raises StoreCutBack."""
        from agentrt.audit import AuditStore

        if self.has_store:
            with AuditStore(self.store, create=False, read_only=True) as store:
                self._look_back(store)

    def store_warning(self) -> str | None:
        """What `check_store` would raise, in words; None when all is as it was seen."""
        try:
            self.check_store()
        except StoreCorrupt as error:
            return str(error)
        return None

    @cached_property
    def seen(self) -> Seen:
        """What this user's commands remember of audit stores."""
        from agentrt.audit.seen import Seen

        return Seen(_state_folder() / "stores")

    def _look_back(self, store: AuditStore) -> None:
        said = self.seen.look(store)
        if said:
            narrate(said, bold=True)

    @cached_property
    def runtime_key(self) -> SigningKey:
        """The key that signs checkpoints and receipts, made when there is none.

        Raises KeyUnusable.
        """
        from agentrt.audit.keys import SigningKey

        return SigningKey.at(self.where_runtime_key_is)

    @property
    def where_runtime_key_is(self) -> Path:
        """`$AGENTRT_RUNTIME_KEY`, what the file says, or the user's own in the config folder."""
        if named := os.environ.get("AGENTRT_RUNTIME_KEY"):
            return Path(named).expanduser()
        return self.runtime_key_path or _config_folder() / "runtime_ed25519"

    @property
    def store_file(self) -> Path | None:
        """The file of the audit store; None when it is on a server."""
        return self.store if isinstance(self.store, Path) else None

    @property
    def has_store(self) -> bool:
        """Whether something may be recorded already; a server tells when it is opened."""
        return not isinstance(self.store, Path) or self.store.exists()

    @property
    def store_told(self) -> str:
        """Where the store is, for a person; a password is not told."""
        if isinstance(self.store, Path):
            return str(self.store)
        from agentrt.audit.postgres import location_of

        return location_of(self.store)

    def _names(self) -> str:
        return ", ".join(self.agent_tables) or "none"

    def _agent(self, name: str) -> Agent:
        from agentrt.agent import Agent

        table = dict(self.agent_tables[name])
        patterns = table.pop("tools", [])
        instructions = self._instructions(name, table)
        chosen = self._chosen_tools(name, patterns)
        return Agent(name=name, instructions=instructions, tools=chosen, **table)

    def _instructions(self, name: str, table: dict[str, Any]) -> str:
        text: str = table.pop("instructions", "")
        file = table.pop("instructions_file", None)
        if file is None:
            return text
        path: Path = self.folder / file
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            place = f"{self.file}: [agents.{name}] instructions_file"
            raise ProjectError(f"{place}: {file} cannot be read: {error}") from error

    def _chosen_tools(self, name: str, patterns: list[str]) -> list[Tool[..., Any]]:
        chosen: dict[str, Tool[..., Any]] = {}
        for pattern in patterns:
            found = [tool for tool in self.tools.values() if fnmatchcase(tool.name, pattern)]
            if not found:
                raise ProjectError(
                    f"{self.file}: [agents.{name}] tools: no tool is called {pattern!r}"
                    f"{_nearest(pattern, self.tools) or '.'} `agentrt tools list` shows them."
                )
            chosen |= {tool.name: tool for tool in found}
        return list(chosen.values())


def _store(file: Path, project: Mapping[str, Any]) -> Path | str:
    stated: str = os.environ.get("AGENTRT_STORE") or project.get("store", "agentrt.db")
    # What begins so is a URL, as `audit.database.is_url` has it; that is not loaded for this.
    return stated if stated.startswith(("postgresql", "postgres://")) else file.parent / stated


def key_path(given: Path | None = None) -> Path:
    """The reviewer's key: what is given, `$AGENTRT_KEY`, or the user's own in the config folder."""
    if given is not None:
        return given
    if named := os.environ.get("AGENTRT_KEY"):
        return Path(named).expanduser()
    return _config_folder() / "reviewer_ed25519"


def _config_folder() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "agentrt"


def _state_folder() -> Path:
    """Where what must outlive a program is kept: $XDG_STATE_HOME/agentrt."""
    stated = os.environ.get("XDG_STATE_HOME")
    return Path(stated or os.path.expanduser("~/.local/state")) / "agentrt"


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{file}:{_place(error)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file} cannot be read: {error}") from error


def _place(error: tomllib.TOMLDecodeError) -> str:
    """`line:column: what`, from a message that ends in `(at line 3, column 7)`."""
    import re

    found = re.fullmatch(r"(?s)(.*) \(at line (\d+), column (\d+)\)", str(error))
    return f"{found[2]}:{found[3]}: {found[1]}" if found else f" {error}"


def _check_agent(file: Path, name: str, table: Any) -> None:
    if not isinstance(table, dict):
        raise ProjectError(f"{file}: agents.{name} must be a table: write [agents.{name}].")
    where = f"agents.{name}"
    _check_keys(file, where, table, AGENT_KEYS)
    if "model" not in table:
        raise ProjectError(f'{file}: [{where}] has no model: write model = "claude-sonnet-5-5".')
    if {"instructions", "instructions_file"} <= table.keys():
        raise ProjectError(f"{file}: [{where}] has instructions and instructions_file: keep one.")
    if not all(isinstance(tool, str) for tool in table.get("tools", [])):
        raise ProjectError(f"{file}: [{where}] tools must be {_TYPE_WORDS[list]}.")
    _check_choices(file, where, table)


def _notifications(file: Path, data: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    targets: dict[str, dict[str, Any]] = data.get("notifications", {})
    for name, table in targets.items():
        where = f"notifications.{name}"
        if not isinstance(table, dict):
            raise ProjectError(f"{file}: {where} must be a table: write [{where}].")
        kind = str(table.get("kind", ""))
        if kind not in NOTIFY_KEYS:
            raise ProjectError(f"{file}: [{where}] kind is {kind!r}: say {', '.join(NOTIFY_KEYS)}.")
        both: dict[str, tuple[type, ...]] = {"kind": (str,), "events": (list,)}
        _check_keys(file, where, table, {**both, **NOTIFY_KEYS[kind]})
    return targets


def _check_choices(file: Path, where: str, table: Mapping[str, Any]) -> None:
    for key, choices in CHOICES.items():
        if key in table and table[key] not in choices:
            raise ProjectError(
                f"{file}: [{where}] {key} is {table[key]!r}, not one of {', '.join(choices)}."
            )


def _check_numbers(
    file: Path, where: str, table: Mapping[str, Any], known: Mapping[str, tuple[type, ...]]
) -> None:
    """Keys of which each number says how much there may be of something."""
    _check_keys(file, where, table, known)
    for key, value in table.items():
        if isinstance(value, int | float) and value < (0 if key == "grace_s" else 1):
            raise ProjectError(f"{file}: [{where}] {key} is {value}, and must be more.")


def _check_keys(
    file: Path, where: str, table: Mapping[str, Any], known: Mapping[str, tuple[type, ...]]
) -> None:
    for key, value in table.items():
        place = f"[{where}] " if where else ""
        if key not in known:
            near = _nearest(key, known)
            raise ProjectError(f"{file}: {place}unknown key {key!r}{near or '.'}")
        # type() and not isinstance: in Python, true is a whole number.
        if type(value) not in known[key]:
            wanted = _TYPE_WORDS[known[key][-1]]
            raise ProjectError(f"{file}: {place}{key} must be {wanted}.")


def _nearest(word: str, known: Collection[str]) -> str:
    near = get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _cache_folder() -> Path:
    """Where what can be made again is kept: $XDG_CACHE_HOME/agentrt, or ~/.cache/agentrt."""
    stated = os.environ.get("XDG_CACHE_HOME")
    return Path(stated or os.path.expanduser("~/.cache")) / "agentrt"
