"""The policy in force: the folder as it was read last, and read again when it changes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agentrt.approvals.histories import Histories
from agentrt.audit import AuditStore
from agentrt.policy import Fact, Policy, ToolLike
from agentrt.policy.bundle import Stamp, stamp_of

__all__ = ["InForce"]


class InForce:
    """Which policy holds now, with what happened as far as it needs to know it.

    A changed folder takes effect for what is decided from then on. One that cannot be read
    changes nothing.
    """

    def __init__(
        self,
        store: AuditStore,
        policy: Policy,
        *,
        folder: Path | None,
        stamp: Stamp,
        tools: Iterable[ToolLike],
        facts: Iterable[Fact],
    ) -> None:
        """`folder` is where `policy` was read from, None for one that never changes.

        `stamp` is the folder's before it was read: what changed since is read again.
        """
        self._store = store
        self._folder = folder
        self._tools = tuple(tools)
        self._facts = tuple(facts)
        self._stamp = stamp
        self.histories = Histories(store, policy)

    @property
    def policy(self) -> Policy:
        """The policy that holds now."""
        return self.histories.policy

    def has_changed(self) -> bool:
        """Whether the folder's files are others than when they were read last."""
        return self._folder is not None and self._stamp != stamp_of(self._folder)

    def reload(self) -> bool:
        """Read the folder again; whether the policy is another now. Raises PolicyError."""
        if self._folder is None:
            return False
        self._stamp = stamp_of(self._folder)
        read = Policy.load(self._folder, self._tools, facts=self._facts)
        if read.bundle == self.policy.bundle:
            return False
        self.histories = Histories(self._store, read)
        return True
