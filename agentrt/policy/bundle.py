"""The policy: a folder of files, checked against the tools, that answers for every call."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Self

import rfc8785

from agentrt.errors import PolicyError
from agentrt.policy.decide import Decision, DefaultRead, Question, decide, decide_unknown
from agentrt.policy.problems import PolicyProblem, refusal
from agentrt.policy.reviewers import REVIEWERS_FILE, Reviewers
from agentrt.policy.reviewers_file import read_reviewers_file
from agentrt.policy.rules import Rule, ToolLike
from agentrt.policy.rules_file import RulesFile, read_rules_file
from agentrt.policy.yaml_source import read_source

__all__ = ["Policy", "find_problems", "texts_in"]


@dataclass(frozen=True)
class Policy:
    """A bundle that was read without a problem. Make one with `load`, `from_texts` or `parse`."""

    files: Mapping[str, str]
    """The text of every file by name, the reviewers' included."""
    rules: tuple[Rule, ...]
    reviewers: Reviewers
    default_read: DefaultRead

    @classmethod
    def load(cls, folder: str | Path, tools: Iterable[ToolLike]) -> Self:
        """The policy in `folder/*.yaml`. Raises PolicyError with all problems, or why it cannot."""
        return cls._checked(texts_in(Path(folder)), tuple(tools), folder=f"{folder}/")

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], tools: Iterable[ToolLike]) -> Self:
        """The policy of these texts by file name. Raises PolicyError."""
        return cls._checked(texts, tuple(tools))

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> Self:
        """A recorded policy, whose tools may be gone: their names are not checked."""
        return cls._checked(texts, None)

    @classmethod
    def _checked(
        cls, texts: Mapping[str, str], tools: Sequence[ToolLike] | None, *, folder: str = ""
    ) -> Self:
        read = _Reading.of(texts, tools, folder=folder)
        if read.problems:
            raise refusal(read.problems)
        rules = tuple(rule for file in read.files for rule in file.rules)
        said = [file.default_read for file in read.files if file.default_read]
        return cls(MappingProxyType(dict(texts)), rules, read.reviewers, (said or ["hold"])[0])

    @cached_property
    def bundle(self) -> str:
        """SHA-256 of all texts by name: which policy this is."""
        return hashlib.sha256(rfc8785.dumps(dict(self.files))).hexdigest()

    def decide(self, question: Question) -> Decision:
        """What the policy says to a call of a known tool."""
        return decide(
            question, rules=self.rules, default_read=self.default_read, bundle=self.bundle
        )

    def decide_unknown(self, name: str) -> Decision:
        """What the policy says to a call of a tool that is not there: no."""
        return decide_unknown(name, bundle=self.bundle)


def find_problems(texts: Mapping[str, str], tools: Iterable[ToolLike]) -> tuple[PolicyProblem, ...]:
    """Everything that keeps these texts from being a policy, in order."""
    return tuple(sorted(_Reading.of(texts, tuple(tools)).problems))


@dataclass(frozen=True)
class _Reading:
    files: tuple[RulesFile, ...]
    reviewers: Reviewers
    problems: tuple[PolicyProblem, ...]

    @classmethod
    def of(
        cls, texts: Mapping[str, str], tools: Sequence[ToolLike] | None, *, folder: str = ""
    ) -> _Reading:
        files = tuple(
            read_rules_file(read_source(folder + name, text), name=name, tools=tools)
            for name, text in sorted(texts.items())
            if name != REVIEWERS_FILE
        )
        reviewers, problems = _reviewers(texts, folder)
        problems += [problem for file in files for problem in file.problems]
        problems += [*_ids_twice(files), *_defaults_twice(files)]
        return cls(files, reviewers, tuple(problems))


def _reviewers(texts: Mapping[str, str], folder: str) -> tuple[Reviewers, list[PolicyProblem]]:
    if REVIEWERS_FILE not in texts:
        return Reviewers(), []
    return read_reviewers_file(read_source(folder + REVIEWERS_FILE, texts[REVIEWERS_FILE]))


def _ids_twice(files: Sequence[RulesFile]) -> Iterator[PolicyProblem]:
    seen: dict[str, str] = {}
    for entry in (entry for file in files for entry in file.entries):
        rule_id, source = entry.data.get("id"), entry.source
        if not isinstance(rule_id, str):
            continue
        if rule_id in seen:
            message = f"the id {rule_id!r} is taken: it is that of {seen[rule_id]}"
            yield source.at_value((*entry.path, "id"), message)
        else:
            seen[rule_id] = f"{source.file}:{source.line_of(entry.path)}"


def _defaults_twice(files: Sequence[RulesFile]) -> Iterator[PolicyProblem]:
    said = [file for file in files if file.default_read]
    for file in said[1:]:
        message = f"the default is said already, in {said[0].source.file}: say it once"
        yield file.source.at_key(("default",), message)


def texts_in(folder: Path) -> dict[str, str]:
    """The text of every file of the bundle in `folder`, by name. Raises PolicyError."""
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        raise PolicyError(_no_policy(folder, "There is no folder")) from None
    except OSError as error:
        raise PolicyError(f"{folder} cannot be read: {error.strerror}.") from error
    for name in names:
        _refuse_other_spelling(folder, name)
    texts = {name: _text(folder / name) for name in names if name.endswith(".yaml")}
    if not set(texts) - {REVIEWERS_FILE}:
        raise PolicyError(_no_policy(folder, "There is no rules file in"))
    return texts


def _no_policy(folder: Path, situation: str) -> str:
    return (
        f"{situation} {folder}, so nothing runs. Write {folder / 'default.yaml'};"
        " `default: {read: allow}` lets reads run and holds everything else."
    )


def _refuse_other_spelling(folder: Path, name: str) -> None:
    # A deny rule in a file that is silently passed over would be no rule at all.
    if name.lower().endswith((".yml", ".yaml")) and not name.endswith(".yaml"):
        raise PolicyError(f"{folder / name} would not be read: call it *.yaml, or move it away.")
    if name.endswith(".yaml") and not name.isprintable():
        raise PolicyError(f"{folder} has a file with an unprintable name: {name!r}. Rename it.")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise PolicyError(f"{path}:{line}: this is not UTF-8. Save the file as UTF-8.") from None
    except OSError as error:
        raise PolicyError(f"{path} cannot be read: {error.strerror}.") from error
