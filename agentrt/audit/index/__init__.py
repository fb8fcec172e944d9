"""The index: what calls and runs can be found by, made aside from the records, and made again.

It is no part of the truth: nothing decides by it, no append waits for it, and it may be dropped
at any time. It never outlives content: the database itself takes out what is about content that
is deleted, whoever deletes it. See docs/decisions/0021-questions-are-answered-by-an-index-aside.md.
"""

from agentrt.audit.index.indexing import Progress, catch_up, rebuild
from agentrt.audit.index.searching import Found, search
from agentrt.audit.index.standing import Standing, standing

__all__ = ["Found", "Progress", "Standing", "catch_up", "rebuild", "search", "standing"]
