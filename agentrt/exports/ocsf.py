"""OCSF: records as events of the Open Cybersecurity Schema Framework 1.8.

Calls and requests to Claude are API Activity, runs are Application Lifecycle; what fits no class
of the framework is a Base Event. Only opaque ids and hashes leave: no names, no content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentrt import __version__
from agentrt.exports.lines import Exported

__all__ = ["OCSF_VERSION", "ocsf_event"]

OCSF_VERSION = "1.8.0"

API_ACTIVITY, LIFECYCLE, BASE = 6003, 6002, 0
APPLICATION_ACTIVITY, UNCATEGORIZED = 6, 0
OTHER = 99

SEVERITY = {"low": 2, "medium": 3, "high": 4, "critical": 5}
INFORMATIONAL = 1

SUCCESS, FAILURE = 1, 2
START, STOP = 3, 4
READ = 2

ACTIONS = {"allow": (1, "Allowed"), "deny": (2, "Denied"), "hold": (OTHER, "Held")}
VERDICTS = {
    "call.approved": (1, "Allowed"),
    "call.rejected": (2, "Denied"),
    "call.expired": (2, "Denied"),
}


def ocsf_event(record: Exported) -> Mapping[str, Any]:
    """The event of one record."""
    kind = record.header["type"]
    if kind.startswith("call."):
        return {**_common(record, API_ACTIVITY, *_call_activity(record)), **_call(record)}
    if kind.startswith("claude."):
        return {**_common(record, API_ACTIVITY, OTHER, kind), **_request(record)}
    if kind in ("run.started", "run.resumed", "run.finished", "run.failed", "run.cancelled"):
        begins = kind in ("run.started", "run.resumed")
        activity = (START, "Start") if begins else (STOP, "Stop")
        return {**_common(record, LIFECYCLE, *activity), **_run(record)}
    return _common(record, BASE, OTHER, kind)


def _common(record: Exported, uid: int, activity: int, name: str) -> dict[str, Any]:
    header = record.header
    return {
        "class_uid": uid,
        "category_uid": UNCATEGORIZED if uid == BASE else APPLICATION_ACTIVITY,
        "activity_id": activity,
        "activity_name": name,
        "type_uid": uid * 100 + activity,
        "time": header["at"],
        "severity_id": _severity(record),
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "agentrt", "vendor_name": "agentrt", "version": __version__},
            "uid": record.id,
            "correlation_uid": header["run"],
            "log_name": "audit",
            "event_code": header["type"],
            "sequence": record.cursor.pos,
        },
        "unmapped": {"cursor": str(record.cursor), "hash": record.hash, "header": header},
    }


def _severity(record: Exported) -> int:
    asked = record.decided.get("approver") or {}
    return SEVERITY.get(asked.get("severity", ""), INFORMATIONAL)


def _call_activity(record: Exported) -> tuple[int, str]:
    effect = record.decided.get("effect", "unknown")
    return (READ, "Read") if effect == "read" else (OTHER, effect)


def _call(record: Exported) -> Mapping[str, Any]:
    header, decided = record.header, record.decided
    made: dict[str, Any] = {
        "actor": _actor(record),
        "src_endpoint": _endpoint(record),
        "api": {
            "operation": decided.get("tool", "unknown"),
            "request": {"uid": header["call"]},
            "service": {"name": "agentrt"},
        },
        **_status(header),
    }
    action = VERDICTS.get(header["type"]) or ACTIONS.get(header.get("verdict", ""))
    if action is not None:
        made["action_id"], made["action"] = action
        made["policy"] = {"uid": decided.get("bundle", ""), "is_applied": True, **_rules(decided)}
        return _profiled(record, made, "security_control")
    return made


def _rules(decided: Mapping[str, Any]) -> Mapping[str, Any]:
    names = ", ".join(rule["id"] for rule in decided.get("rules", ()))
    return {"name": names} if names else {}


def _status(header: Mapping[str, Any]) -> Mapping[str, Any]:
    match header["type"]:
        case "call.finished":
            well = header["outcome"] == "ok"
            return {
                "status_id": SUCCESS if well else FAILURE,
                "duration": header["duration_ms"],
            }
        case "call.doubted":
            return {"status_id": 0, "status": "Unknown"}
        case _:
            return {}


def _request(record: Exported) -> Mapping[str, Any]:
    header = record.header
    made: dict[str, Any] = {
        "actor": _actor(record),
        "src_endpoint": _endpoint(record),
        "dst_endpoint": {"svc_name": "api.anthropic.com"},
        "api": {
            "operation": "messages.create",
            "request": {"uid": header.get("request_id") or record.id},
            "service": {"name": "Anthropic"},
        },
        "ai_model": {
            "name": header.get("model") or record.run.get("model", "unknown"),
            "ai_provider": "Anthropic",
        },
    }
    if header["type"] == "claude.replied":
        made |= {"status_id": SUCCESS, "duration": header["latency_ms"]}
    if header["type"] == "claude.failed":
        made |= {"status_id": FAILURE, "status_code": header["kind"]}
    return _profiled(record, made, "ai_operation")


def _run(record: Exported) -> Mapping[str, Any]:
    failed = record.header["type"] == "run.failed"
    return {
        "app": {"name": record.run.get("agent", "unknown"), "vendor_name": "agentrt"},
        "status_id": FAILURE if failed else SUCCESS,
    }


def _profiled(record: Exported, made: Mapping[str, Any], profile: str) -> Mapping[str, Any]:
    metadata = _common(record, BASE, OTHER, "")["metadata"]
    return {**made, "metadata": {**metadata, "profiles": [profile]}}


def _actor(record: Exported) -> Mapping[str, Any]:
    user = record.header.get("user_ref")
    app = {"app_name": record.run.get("agent", "unknown")}
    return {**app, "user": {"uid": user}} if user else app


def _endpoint(record: Exported) -> Mapping[str, Any]:
    return {"svc_name": "agentrt", "instance_uid": record.cursor.store}
