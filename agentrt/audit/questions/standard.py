"""The questions that there are, and those that another command answers."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from agentrt.audit.questions.calls import denied, doubts, egress, irreversible
from agentrt.audit.questions.forgetting import forgotten
from agentrt.audit.questions.policies import changed_rules, policy_changes
from agentrt.audit.questions.question import Question, by_sql
from agentrt.errors import NotFound

__all__ = ["ELSEWHERE", "QUESTIONS", "question"]

APPROVERS = """
SELECT reviewer, count(*) AS decisions,
  sum(CASE WHEN verdict = 'approve' THEN 1 ELSE 0 END) AS approved,
  sum(CASE WHEN verdict = 'reject' THEN 1 ELSE 0 END) AS rejected,
  min(seconds) AS fastest_s, avg(seconds) AS average_s,
  sum(CASE WHEN seconds < 5 THEN 1 ELSE 0 END) AS under_5_s,
  sum(CASE WHEN reason = '' THEN 1 ELSE 0 END) AS without_reason,
  sum(own) AS own
FROM audit_approvals
WHERE at >= :since AND at < :until
GROUP BY reviewer
ORDER BY under_5_s DESC, approved DESC, reviewer
"""

OWN_APPROVALS = """
SELECT time, call, tool, reviewer, user_name, verdict, reason, seconds
FROM audit_approvals
WHERE own = 1 AND at >= :since AND at < :until
ORDER BY at DESC
"""

APPROVALS = """
SELECT time, call, tool, severity, verdict, reviewer, reason, seconds, user_name, key
FROM audit_approvals
WHERE at >= :since AND at < :until
ORDER BY at DESC
"""

MODELS = """
SELECT agent, model, prompt_version, count(*) AS runs, min(time) AS first, max(time) AS last
FROM audit_runs
WHERE started_at >= :since AND started_at < :until
GROUP BY agent, model, prompt_version
ORDER BY last DESC
"""

COSTS = """
SELECT {by}, simulated, count(*) AS requests, count(DISTINCT run) AS runs,
  sum(input_tokens + cache_write_tokens + cache_read_tokens) AS tokens_in,
  sum(output_tokens) AS tokens_out, sum(cost_usd) AS cost_usd,
  sum(CASE WHEN cost_usd IS NULL AND failed = FALSE THEN 1 ELSE 0 END) AS unknown_prices
FROM audit_model_calls
WHERE at >= :since AND at < :until
GROUP BY {by}, simulated
ORDER BY cost_usd DESC
"""

_ALL = (
    Question(
        "approvals", "What did reviewers decide, how soon, with which key?", by_sql(APPROVALS)
    ),
    Question(
        "irreversible", "What was done that cannot be undone, and who approved it?", irreversible
    ),
    Question(
        "changed-rules", "Which calls ran under a rule that was changed later?", changed_rules
    ),
    Question(
        "approvers",
        "Who approves fastest and most? Few seconds are a rubber stamp.",
        by_sql(APPROVERS),
    ),
    Question(
        "own-approvals",
        "Which calls were decided by the person whose run asked for them?",
        by_sql(OWN_APPROVALS),
    ),
    Question("denied", "What was refused, and what did Claude do next?", denied),
    Question("doubts", "What was in doubt, and how was it settled?", doubts),
    Question("models", "Which model and prompt version was at work, and when?", by_sql(MODELS)),
    Question("egress", "What data left, and to whom?", egress),
    Question("forgotten", "What was forgotten: when, by whom, on what ground?", forgotten),
    Question(
        "policy-changes", "When did the policy change, and what did it change?", policy_changes
    ),
    Question(
        "costs", "What did it cost?", by_sql(COSTS), groups=("user_name", "agent", "day", "model")
    ),
)

QUESTIONS: Mapping[str, Question] = {each.name: each for each in _ALL}

ELSEWHERE: Mapping[str, str] = {
    "Who approved this, what did they see, and what did the agent know?": "agentrt why CALL",
    "Which rules decided, on which values?": "agentrt policy explain CALL",
    "Which calls by a user, about a customer, above an amount?": (
        "agentrt audit query 'user:NAME args.PATH:>5000'"
    ),
    "Is anything missing, or not what was written?": "agentrt audit verify",
    "What does a record prove, and to whom?": "agentrt receipt CALL",
}
"""Questions with a command of their own."""


def question(name: str) -> Question:
    """The question of this name. Raises NotFound, with what was meant."""
    if name in QUESTIONS:
        return QUESTIONS[name]
    near = get_close_matches(name, QUESTIONS, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise NotFound(f"There is no question {name!r}.{meant} There are: {', '.join(QUESTIONS)}.")
