"""What may run, what waits for a person, what never runs."""

from agentrt.policy.bundle import Policy, find_problems, texts_in
from agentrt.policy.decide import Decision, Question
from agentrt.policy.facts import DecidedCall, Fact, fact, stated_fact
from agentrt.policy.known import Known
from agentrt.policy.privacy_file import PRIVACY_FILE, PrivacyRules
from agentrt.policy.problems import PolicyProblem
from agentrt.policy.public_keys import PublicKey
from agentrt.policy.reviewers import APPROVAL_NAMESPACE, OWNER, REVIEWERS_FILE, Reviewer, Reviewers
from agentrt.policy.rules import Approve, Rule, ToolLike
from agentrt.policy.tools_file import TOOLS_FILE

__all__ = [
    "APPROVAL_NAMESPACE",
    "OWNER",
    "PRIVACY_FILE",
    "REVIEWERS_FILE",
    "TOOLS_FILE",
    "Approve",
    "DecidedCall",
    "Decision",
    "Fact",
    "Known",
    "Policy",
    "PolicyProblem",
    "PrivacyRules",
    "PublicKey",
    "Question",
    "Reviewer",
    "Reviewers",
    "Rule",
    "ToolLike",
    "fact",
    "find_problems",
    "stated_fact",
    "texts_in",
]
