"""The calls that wait for a person."""

from agentrt.approvals.queue import ApprovalQueue
from agentrt.approvals.shown import Shown, group_digest, together
from agentrt.approvals.signatures import KeyFile, Signer, make_key
from agentrt.approvals.statement import Covered, Statement

__all__ = [
    "ApprovalQueue",
    "Covered",
    "KeyFile",
    "Shown",
    "Signer",
    "Statement",
    "group_digest",
    "make_key",
    "together",
]
