"""The audit store: append-only, hash-chained, the single source of truth."""

from agentrt.audit.appends import Draft
from agentrt.audit.store import STORE_CHAIN, AuditStore, Watch
from agentrt.audit.tables import ApprovalRow, CallRow, ModelCallRow, RunRow
from agentrt.audit.verify import Finding, Verification

__all__ = [
    "STORE_CHAIN",
    "ApprovalRow",
    "AuditStore",
    "CallRow",
    "Draft",
    "Finding",
    "ModelCallRow",
    "RunRow",
    "Verification",
    "Watch",
]
