"""`agentrt policy`: check, test and compare policies, and explain what they decided."""

from __future__ import annotations

import click

from agentrt.cli.groups import Commands, LazyCommand

__all__ = ["policy"]


def _at(module: str, name: str, summary: str) -> LazyCommand:
    return LazyCommand(f"agentrt.cli.policy_{module}", name, summary)


_COMMANDS = {
    "check": _at("problems", "check", "Check the policy against the tools."),
    "lint": _at("problems", "lint", "Say which rules somebody should look after."),
    "list": _at("rules", "list_", "List the rules and what they cover."),
    "facts": _at("rules", "facts", "List the facts and functions that conditions can use."),
    "test": _at("cases", "test", "Run the policy's cases."),
    "explain": _at("explain", "explain", "Explain a recorded decision, rule by rule."),
    "diff": _at("diff", "diff", "Compare what two policies mean."),
    "backtest": _at("history", "backtest", "What a policy would have said to recorded calls."),
    "coverage": _at("history", "coverage", "How many recorded calls each rule matches."),
}


@click.group(cls=Commands, lazy=_COMMANDS)
def policy() -> None:
    """Check, test and compare policies, and explain what they decided.

    \b
    Example:
      agentrt policy check && agentrt policy test
    """
