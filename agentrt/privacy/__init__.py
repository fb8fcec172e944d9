"""What a value may leave behind: log, hash or drop; and what nobody may ever read again."""

from agentrt.privacy.keep import KEEPS, Keep, Marked, keep, strictest
from agentrt.privacy.masking import Counts, Mask, Secrets
from agentrt.privacy.reducing import Fields, Hash, merged, reduced

__all__ = [
    "KEEPS",
    "Counts",
    "Fields",
    "Hash",
    "Keep",
    "Marked",
    "Mask",
    "Secrets",
    "keep",
    "merged",
    "reduced",
    "strictest",
]
