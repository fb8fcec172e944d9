"""What an auditor asks for, in one line: `tool:refund_* decision:approved since:30d`."""

from agentrt.audit.query.parsing import parse
from agentrt.audit.query.terms import KEYS, Query, Term, Value

__all__ = ["KEYS", "Query", "Term", "Value", "parse"]
