"""The calls that wait for a person."""

from agentrt.approvals.queue import ApprovalQueue, Shown
from agentrt.approvals.signatures import KeyFile, Signer, make_key
from agentrt.approvals.statement import Statement

__all__ = ["ApprovalQueue", "KeyFile", "Shown", "Signer", "Statement", "make_key"]
