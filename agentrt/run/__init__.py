"""A run is a fold over its events."""

from agentrt.run.evolve import evolve, fold
from agentrt.run.follow_up import begin_after
from agentrt.run.state import Approval, Contradiction, Run, RunStatus, Settlement, ToolCall
from agentrt.run.steps import AskClaude, Decide, Execute, Fail, Finish, Recover, Step, next_step
from agentrt.run.trace import Trace, trace
from agentrt.run.why import Fact, Why, explain, tell

__all__ = [
    "Approval",
    "AskClaude",
    "Contradiction",
    "Decide",
    "Execute",
    "Fact",
    "Fail",
    "Finish",
    "Recover",
    "Run",
    "RunStatus",
    "Settlement",
    "Step",
    "ToolCall",
    "Trace",
    "Why",
    "begin_after",
    "evolve",
    "explain",
    "fold",
    "next_step",
    "tell",
    "trace",
]
