"""The policy: a folder of files, checked against the tools, that answers for every call."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Self

import rfc8785

from agentrt.errors import PolicyError
from agentrt.policy.bindings import Bindings, mistakes_in
from agentrt.policy.checked_before import CheckedBefore
from agentrt.policy.decide import Decision, DefaultRead, Question, decide, decide_unknown
from agentrt.policy.facts import Fact
from agentrt.policy.needs import Needs, needs_of
from agentrt.policy.privacy_file import PRIVACY_FILE, PrivacyRules, read_privacy_file
from agentrt.policy.problems import PolicyProblem, refusal
from agentrt.policy.reviewers import REVIEWERS_FILE, Reviewers
from agentrt.policy.reviewers_file import read_reviewers_file
from agentrt.policy.rules import EFFECTS, Rule, ToolLike, effect_named
from agentrt.policy.rules_file import RulesFile, read_rules_file
from agentrt.policy.study import study
from agentrt.policy.tools_file import TOOLS_FILE, Raise, RaisedTool, as_seen, read_tools_file
from agentrt.policy.vocabulary import Vocabulary
from agentrt.policy.yaml_source import read_source

__all__ = ["Policy", "Stamp", "find_problems", "stamp_of", "texts_in"]

NO_RULES = frozenset({REVIEWERS_FILE, TOOLS_FILE, PRIVACY_FILE})
"""Files of a bundle that hold something else than rules."""

FACT_PREFIX = "fact "
"""Begins the names under which a bundle holds the code of the project's facts."""


@dataclass(frozen=True)
class Policy:
    """A bundle that was read without a problem. Make one with `load`, `from_texts` or `parse`."""

    files: Mapping[str, str]
    """The text of every file by name, the reviewers' and the code of the project's facts too."""
    rules: tuple[Rule, ...]
    reviewers: Reviewers
    default_read: DefaultRead
    raises: tuple[Raise, ...]
    vocabulary: Vocabulary = field(repr=False, compare=False)
    bindings: Bindings = field(repr=False, compare=False)
    privacy: PrivacyRules = field(default_factory=PrivacyRules)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        tools: Iterable[ToolLike],
        *,
        facts: Iterable[Fact] = (),
        cache: CheckedBefore | None = None,
    ) -> Self:
        """The policy in `folder/*.yaml`. Raises PolicyError with all problems, or why it cannot.

        With a `cache`, what was checked before with the same tools is not checked again.
        """
        texts, tools, facts = texts_in(Path(folder)), tuple(tools), tuple(facts)
        if cache is None:
            return cls._checked(texts, tools, facts, folder=f"{folder}/")
        key = cache.key(texts, tools, repr(sources_of(facts)))
        policy = cls._checked(texts, tools, facts, folder=f"{folder}/", known=cache.has(key))
        cache.note(key)
        return policy

    @classmethod
    def from_texts(
        cls, texts: Mapping[str, str], tools: Iterable[ToolLike], *, facts: Iterable[Fact] = ()
    ) -> Self:
        """The policy of these texts by file name. Raises PolicyError."""
        return cls._checked(texts, tuple(tools), tuple(facts))

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> Self:
        """A recorded policy, whose tools may be gone: neither names nor types are checked."""
        return cls._checked(texts, None, ())

    @classmethod
    def _checked(
        cls,
        texts: Mapping[str, str],
        tools: Sequence[ToolLike] | None,
        facts: tuple[Fact, ...],
        *,
        folder: str = "",
        known: bool = False,
    ) -> Self:
        read = _Reading.of(texts, tools, facts, folder=folder, known=known)
        if errors := [problem for problem in read.problems if problem.level == "error"]:
            raise refusal(errors)
        said = [file.default_read for file in read.files if file.default_read]
        return cls(
            MappingProxyType(dict(texts) | sources_of(facts)),
            read.rules,
            read.reviewers,
            (said or ["hold"])[0],
            read.raises,
            read.vocabulary,
            read.bindings,
            read.privacy,
        )

    @cached_property
    def bundle(self) -> str:
        """SHA-256 of all texts by name: which policy this is."""
        return hashlib.sha256(rfc8785.dumps(dict(self.files))).hexdigest()

    @cached_property
    def needs(self) -> Needs:
        """The folds that its rules read."""
        return needs_of(self.rules, self.bindings, self.vocabulary)

    def seen(self, tool: ToolLike, *, effect_then: str | None = None) -> RaisedTool:
        """The tool as this policy sees it: `tools.yaml` may raise its effect and add labels.

        `effect_then` is the effect that it had when its run began: the stricter one counts.
        """
        seen = as_seen(tool, self.raises)
        then = effect_named(effect_then) if effect_then is not None else seen.effect
        effect = max((then, seen.effect), key=lambda word: EFFECTS.index(effect_named(word)))
        return seen if effect == seen.effect else replace(seen, effect=effect)

    def decide(self, question: Question) -> Decision:
        """What the policy says to a call of a known tool, which is seen as it is given."""
        return decide(
            question,
            bounds=self.bindings.of(question.tool),
            default_read=self.default_read,
            bundle=self.bundle,
        )

    def decide_unknown(self, name: str) -> Decision:
        """What the policy says to a call of a tool that is not there: no."""
        return decide_unknown(name, bundle=self.bundle)


def find_problems(
    texts: Mapping[str, str],
    tools: Iterable[ToolLike],
    *,
    facts: Iterable[Fact] = (),
    today: date | None = None,
) -> tuple[PolicyProblem, ...]:
    """Everything that keeps these texts from being a policy, and every warning, in order."""
    read = _Reading.of(texts, tuple(tools), tuple(facts), today=today)
    return tuple(sorted(set(read.problems)))


@dataclass(frozen=True)
class _Reading:
    files: tuple[RulesFile, ...]
    rules: tuple[Rule, ...]
    reviewers: Reviewers
    raises: tuple[Raise, ...]
    vocabulary: Vocabulary
    bindings: Bindings
    privacy: PrivacyRules
    problems: tuple[PolicyProblem, ...]

    @classmethod
    def of(
        cls,
        texts: Mapping[str, str],
        tools: Sequence[ToolLike] | None,
        facts: tuple[Fact, ...],
        *,
        folder: str = "",
        today: date | None = None,
        known: bool = False,
    ) -> _Reading:
        """`known` says that there are no mistakes: only what rules need to be read is done."""
        raises, problems = _raises(texts, tools, folder)
        seen = None if tools is None else tuple(as_seen(tool, raises) for tool in tools)
        files = tuple(
            read_rules_file(read_source(folder + name, text), name=name, tools=seen, known=known)
            for name, text in sorted(texts.items())
            if name not in NO_RULES and not name.startswith(FACT_PREFIX)
        )
        reviewers, more = _reviewers(texts, folder)
        problems += more
        privacy, more = _privacy(texts, seen, folder)
        problems += more
        problems += [problem for file in files for problem in file.problems]
        problems += [*_ids_twice(files), *_defaults_twice(files)]
        rules = tuple(rule for file in files for rule in file.rules)
        vocabulary = Vocabulary.of(facts, seen or ())
        bindings = Bindings(rules, vocabulary, seen or ())
        if seen is not None and not problems and not known:
            problems += mistakes_in(files, bindings, seen)
        if seen is not None and not problems and not known:
            problems += study(files, bindings, seen, today=today)
        return cls(files, rules, reviewers, raises, vocabulary, bindings, privacy, tuple(problems))


def _raises(
    texts: Mapping[str, str], tools: Sequence[ToolLike] | None, folder: str
) -> tuple[tuple[Raise, ...], list[PolicyProblem]]:
    if TOOLS_FILE not in texts:
        return (), []
    return read_tools_file(read_source(folder + TOOLS_FILE, texts[TOOLS_FILE]), tools=tools)


def _privacy(
    texts: Mapping[str, str], tools: Sequence[ToolLike] | None, folder: str
) -> tuple[PrivacyRules, list[PolicyProblem]]:
    if PRIVACY_FILE not in texts:
        return PrivacyRules(), []
    return read_privacy_file(read_source(folder + PRIVACY_FILE, texts[PRIVACY_FILE]), tools=tools)


def sources_of(facts: Iterable[Fact]) -> dict[str, str]:
    """The code of the project's own facts: another code is another policy."""
    return {f"{FACT_PREFIX}{fact.name}": fact.source or repr(fact.type) for fact in facts}


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
    if not set(texts) - NO_RULES:
        raise PolicyError(_no_policy(folder, "There is no rules file in"))
    return texts


Stamp = tuple[tuple[str, int, int, int, int], ...]
"""Name, times of change, size and inode of each file of a folder."""


def stamp_of(folder: Path) -> Stamp:
    """What changes when a file of the bundle does; nothing when the folder cannot be read."""
    try:
        with os.scandir(folder) as files:
            found = [(file.name, file.stat()) for file in files if file.name.endswith(".yaml")]
    except OSError:
        return ()
    # A file can be replaced with its old time on it; the inode's own time nobody sets.
    return tuple(
        sorted(
            (name, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
            for name, stat in found
        )
    )


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
    if not path.is_file():
        raise PolicyError(f"{path} cannot be read: it is no file. Move it away.")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise PolicyError(f"{path}:{line}: this is not UTF-8. Save the file as UTF-8.") from None
    except OSError as error:
        raise PolicyError(f"{path} cannot be read: {error.strerror}.") from error
