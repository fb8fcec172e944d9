"""The audit store: append-only, hash-chained, the single source of truth."""

from agentrt.audit.appends import Draft
from agentrt.audit.bell import Bell
from agentrt.audit.claims import BEAT_S, Claims, Present, Wanted
from agentrt.audit.database import is_url
from agentrt.audit.store import STORE_CHAIN, AuditStore, Watch
from agentrt.audit.tables import ApprovalRow, CallRow, ModelCallRow, RunRow
from agentrt.audit.verify import Finding, Verification

__all__ = [
    "BEAT_S",
    "STORE_CHAIN",
    "ApprovalRow",
    "AuditStore",
    "Bell",
    "CallRow",
    "Claims",
    "Draft",
    "Finding",
    "ModelCallRow",
    "Present",
    "RunRow",
    "Verification",
    "Wanted",
    "Watch",
    "is_url",
]
