"""Review in the terminal: browse the audit store, approve and reject. Needs no API key."""

from agentrt.tui.app import ReviewApp, run_app

__all__ = ["ReviewApp", "run_app"]
