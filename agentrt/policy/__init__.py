"""What may run, what waits for a person, what never runs."""

from agentrt.policy.bundle import Policy, find_problems, texts_in
from agentrt.policy.decide import Decision, Question
from agentrt.policy.problems import PolicyProblem
from agentrt.policy.public_keys import PublicKey
from agentrt.policy.reviewers import APPROVAL_NAMESPACE, OWNER, REVIEWERS_FILE, Reviewer, Reviewers
from agentrt.policy.rules import Approve, Rule, ToolLike

__all__ = [
    "APPROVAL_NAMESPACE",
    "OWNER",
    "REVIEWERS_FILE",
    "Approve",
    "Decision",
    "Policy",
    "PolicyProblem",
    "PublicKey",
    "Question",
    "Reviewer",
    "Reviewers",
    "Rule",
    "ToolLike",
    "find_problems",
    "texts_in",
]
