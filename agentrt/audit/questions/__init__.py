"""Questions that auditors ask again and again, each with its answer as a table."""

from agentrt.audit.questions.question import Asked, Period, Question
from agentrt.audit.questions.standard import ELSEWHERE, QUESTIONS, question

__all__ = ["ELSEWHERE", "QUESTIONS", "Asked", "Period", "Question", "question"]
