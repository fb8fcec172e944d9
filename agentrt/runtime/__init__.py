"""Agents, governed: what most programs import."""

from agentrt.runtime.load import Load
from agentrt.runtime.runtime import Runtime

__all__ = ["Load", "Runtime"]
