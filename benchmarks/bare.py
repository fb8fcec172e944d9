"""The hand-written loop on the bare SDK: no policy, no record, no approvals."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from benchmarks.job import FUNCTIONS, INSTRUCTIONS, MODEL, TOKENS_MAX

__all__ = ["carry"]

CACHED = {"type": "ephemeral"}

TOOLS: list[dict[str, Any]] = [
    {
        "name": "get_order",
        "description": "Look up one order: its customer, its lines and what was paid.",
        "input_schema": {
            "type": "object",
            "properties": {
                "order_id": {
                    "type": "string",
                    "description": "The id of the order, as in ord_000123.",
                }
            },
            "required": ["order_id"],
            "additionalProperties": False,
        },
    },
    {
        "name": "get_shipment",
        "description": (
            "Look up how one order was shipped: the carrier, the parcels and where they are."
        ),
        "input_schema": {
            "type": "object",
            "properties": {
                "order_id": {
                    "type": "string",
                    "description": "The id of the order, as in ord_000123.",
                }
            },
            "required": ["order_id"],
            "additionalProperties": False,
        },
        "cache_control": CACHED,
    },
]
SYSTEM = [{"type": "text", "text": INSTRUCTIONS, "cache_control": CACHED}]
BY_NAME = {function.__name__: function for function in FUNCTIONS}


async def carry(client: Any, prompt: str) -> str:
    """Claude's answer to the prompt."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
    while True:
        message = await client.messages.create(
            model=MODEL,
            max_tokens=TOKENS_MAX,
            cache_control=CACHED,
            system=SYSTEM,
            tools=TOOLS,
            messages=messages,
        )
        messages.append({"role": "assistant", "content": message.content})
        if message.stop_reason != "tool_use":
            return "".join(block.text for block in message.content if block.type == "text")
        calls = [block for block in message.content if block.type == "tool_use"]
        results = await asyncio.gather(*(_result(call) for call in calls))
        messages.append({"role": "user", "content": list(results)})


async def _result(call: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": call.id}
    try:
        value = await BY_NAME[call.name](**call.input)
    except Exception as error:  # noqa: BLE001 - whatever a tool raises, Claude is told
        return block | {"content": str(error), "is_error": True}
    return block | {"content": json.dumps(value)}
