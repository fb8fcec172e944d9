"""Who may approve: people, their roles, and the keys they sign with."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from agentrt.policy.public_keys import PublicKey

__all__ = ["APPROVAL_NAMESPACE", "OWNER", "REVIEWERS_FILE", "Reviewer", "Reviewers"]

APPROVAL_NAMESPACE = "agentrt-approval"
"""What SSH binds an approval's signature to: one made for git or a login is no approval."""

REVIEWERS_FILE = "reviewers.yaml"

OWNER = "owner"
"""The role that has every role: the one person of a single-user project."""

_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([Zz]|[+-][0-9]{2}:[0-9]{2}))?"
)

# A name goes into ssh-keygen's allowed_signers, where a comma, a blank or a star means more.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+@-]{0,199}$")]
Role = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


def _moment(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError("must be a day, or a time with its zone such as 2026-01-01T09:00:00Z")
    moment = datetime.fromisoformat(value.upper())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _public_key(value: Any) -> Any:
    if isinstance(value, str):
        return PublicKey.parse(value)
    if isinstance(value, PublicKey):
        return value
    raise ValueError("must be a line like 'ssh-ed25519 AAAA... comment'")


Moment = Annotated[datetime, BeforeValidator(_moment)]


class Reviewer(BaseModel):
    """A person who can approve: known by any of `keys`, in the time they are valid.

    A day stands for its beginning in UTC; `valid_before` itself is no longer valid.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True
    )

    name: Name
    roles: tuple[Role, ...] = ()
    keys: tuple[Annotated[PublicKey, BeforeValidator(_public_key)], ...] = Field(min_length=1)
    valid_after: Moment | None = None
    valid_before: Moment | None = None

    def may(self, roles: Collection[str]) -> bool:
        """Whether the reviewer has every one of `roles`; an owner has all there are."""
        return OWNER in self.roles or set(roles) <= set(self.roles)

    def valid_at(self, at: int) -> bool:
        """Whether the reviewer's keys are valid at `at`, in milliseconds since the epoch."""
        after, before = _milliseconds(self.valid_after), _milliseconds(self.valid_before)
        return (after is None or after <= at) and (before is None or at < before)

    def allowed_signers(self) -> str:
        """The reviewer's lines for ssh-keygen, one for each key."""
        options = [f'namespaces="{APPROVAL_NAMESPACE}"']
        if self.valid_after:
            options.append(f'valid-after="{_ssh_time(self.valid_after)}"')
        if self.valid_before:
            options.append(f'valid-before="{_ssh_time(self.valid_before)}"')
        return "".join(f"{self.name} {','.join(options)} {key}\n" for key in self.keys)


@dataclass(frozen=True)
class Reviewers:
    """All who can approve. Nobody is in an empty one, so that nothing held can run."""

    people: tuple[Reviewer, ...] = ()

    def get(self, name: str) -> Reviewer | None:
        """The reviewer of this name."""
        return self._by_name.get(name)

    def by_key(self, key: bytes | str) -> Reviewer | None:
        """The reviewer with this key: its wire form, or its fingerprint `SHA256:...`."""
        return self._by_key.get(key)

    def allowed_signers(self) -> str:
        """The text that `ssh-keygen -Y verify -f` reads, so that anyone can check a signature."""
        return "".join(reviewer.allowed_signers() for reviewer in self.people)

    @cached_property
    def _by_name(self) -> Mapping[str, Reviewer]:
        return {reviewer.name: reviewer for reviewer in self.people}

    @cached_property
    def _by_key(self) -> Mapping[bytes | str, Reviewer]:
        return {
            known: reviewer
            for reviewer in self.people
            for key in reviewer.keys
            for known in (key.blob, key.fingerprint)
        }


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp()) * 1000


def _ssh_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%SZ")
