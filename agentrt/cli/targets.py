"""Targets of notifications, as agentrt.toml has them; their secrets come from the environment."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agentrt.errors import ProjectError
from agentrt.notifications import KINDS, CommandTarget, MailTarget, Target, WebhookTarget

__all__ = ["target_of"]

EVENTS = tuple(kind for kind in KINDS if kind != "test")


def target_of(file: Path, name: str, table: Mapping[str, Any]) -> Target:
    """The target of this table. Raises ProjectError with the place of the mistake."""
    where = f"{file}: [notifications.{name}]"
    kinds = _kinds(where, table)
    match table["kind"]:
        case "command":
            return _command(where, name, table, kinds)
        case "webhook":
            return _webhook(where, name, table, kinds)
        case _:
            return _mail(where, name, table, kinds)


def _kinds(where: str, table: Mapping[str, Any]) -> frozenset[str]:
    events = table.get("events", list(EVENTS))
    for event in events:
        if event not in EVENTS:
            raise ProjectError(f"{where} events: {event!r} is none of {', '.join(EVENTS)}.")
    return frozenset(events)


def _command(
    where: str, name: str, table: Mapping[str, Any], kinds: frozenset[str]
) -> CommandTarget:
    command = _texts(where, table, "command")
    return CommandTarget(
        name=name, command=command, kinds=kinds, timeout_s=table.get("timeout_s", 10.0)
    )


def _webhook(
    where: str, name: str, table: Mapping[str, Any], kinds: frozenset[str]
) -> WebhookTarget:
    url = urlsplit(_needed(where, table, "url"))
    if url.scheme != "https" and not (url.scheme == "http" and _is_this_machine(url.hostname)):
        raise ProjectError(f"{where} url must begin with https://")
    return WebhookTarget(
        name=name,
        url=table["url"],
        secret=_secret(where, _needed(where, table, "secret_env")),
        kinds=kinds,
        timeout_s=table.get("timeout_s", 10.0),
    )


def _is_this_machine(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _secret(where: str, variable: str) -> bytes:
    """The key: `whsec_` and Base64, as Standard Webhooks has it, or just the text."""
    text = _from_environment(where, variable)
    if not text.startswith("whsec_"):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ProjectError(f"{where} ${variable} is not Base64 after whsec_.") from None


def _mail(where: str, name: str, table: Mapping[str, Any], kinds: frozenset[str]) -> MailTarget:
    tls, server = table.get("tls", "starttls"), _needed(where, table, "server")
    if tls not in ("starttls", "tls", "none"):
        raise ProjectError(f"{where} tls is {tls!r}, not one of starttls, tls, none.")
    if tls == "none" and not _is_this_machine(server):
        raise ProjectError(f"{where} tls: only a server on this machine is spoken to without it.")
    to = _texts(where, table, "to")
    for address in (_needed(where, table, "from"), *to):
        if not address.isprintable() or "@" not in address:
            raise ProjectError(f"{where} {address!r} is no address.")
    variable = table.get("password_env")
    return MailTarget(
        name=name,
        server=server,
        port=table.get("port", 465 if tls == "tls" else 587),
        tls=tls,
        sender=table["from"],
        to=to,
        user=table.get("user", ""),
        password=_from_environment(where, variable) if variable else "",
        kinds=kinds,
        timeout_s=table.get("timeout_s", 30.0),
    )


def _needed(where: str, table: Mapping[str, Any], key: str) -> str:
    if not table.get(key):
        raise ProjectError(f"{where} needs {key}.")
    return str(table[key])


def _texts(where: str, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    texts = table.get(key)
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise ProjectError(f"{where} {key} must be a list of texts, not empty.")
    return tuple(texts)


def _from_environment(where: str, variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise ProjectError(f"{where} ${variable} is not set.")
    return value
