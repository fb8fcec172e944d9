"""Notifications: telling people outside that something waits for them."""

from agentrt.notifications.finding import STUCK_MS, Stuck, notices, stuck_runs
from agentrt.notifications.notice import KINDS, Notice
from agentrt.notifications.notifier import Notifier
from agentrt.notifications.targets import CommandTarget, MailTarget, Target, WebhookTarget

__all__ = [
    "KINDS",
    "STUCK_MS",
    "CommandTarget",
    "MailTarget",
    "Notice",
    "Notifier",
    "Stuck",
    "Target",
    "WebhookTarget",
    "notices",
    "stuck_runs",
]
