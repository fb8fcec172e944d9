"""The models the scripted Claude serves, and what each of them accepts in a request.

Known facts where there is a source; a release date nobody knows is the epoch, as the API
itself has it. This is not a catalogue to choose models by: see `agentrt.models`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["MODELS", "Model", "find_model", "list_models"]

Line = Literal["haiku", "sonnet", "opus", "fable", "mythos"]
Lifecycle = Literal["active", "deprecated", "retired"]

_ALL_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_THINKING_TYPES = ("adaptive", "enabled", "disabled", "between_tools")
_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a request to this model may hold."""

    id: str
    line: Line
    thinking: tuple[str, ...]
    efforts: tuple[str, ...] = _ALL_EFFORTS
    forced_tool_choice: bool = True
    prefill: bool = False
    binds_history: bool = False
    shows_thinking: bool = False
    created_at: str = _EPOCH
    lifecycle: Lifecycle = "active"
    deprecated_at: str | None = None
    retires_at: str | None = None
    input_tokens_max: int = 1_000_000
    output_tokens_max: int = 128_000

    def to_wire(self) -> dict[str, Any]:
        """Answer as `GET /v1/models/{id}` does."""
        return {
            "type": "model",
            "id": self.id,
            "display_name": _display_name(self.id),
            "created_at": self.created_at,
            "lifecycle": self.lifecycle,
            "line": self.line,
            "deprecated_at": self.deprecated_at,
            "retires_at": self.retires_at,
            "max_input_tokens": self.input_tokens_max,
            "max_tokens": self.output_tokens_max,
            "capabilities": self._capabilities(),
        }

    def _capabilities(self) -> dict[str, Any]:
        always = ("batch", "citations", "code_execution", "image_input", "pdf_input")
        return {
            **{name: _leaf(True) for name in (*always, "structured_outputs")},
            "context_management": _tree(
                ("clear_tool_uses_20250919", "clear_thinking_20251015", "compact_20260112"), ()
            ),
            "effort": _tree(_ALL_EFFORTS, self.efforts),
            "server_tools": _tree(("web_search", "code_execution"), ()),
            "thinking": {
                "supported": True,
                "types": {name: _leaf(name in self.thinking) for name in _THINKING_TYPES},
            },
        }


def _leaf(supported: bool) -> dict[str, Any]:
    return {"supported": supported}


def _tree(names: Sequence[str], supported: Sequence[str]) -> dict[str, Any]:
    return {**_leaf(bool(supported)), **{name: _leaf(name in supported) for name in names}}


def _display_name(model_id: str) -> str:
    _, line, *version = model_id.split("-")
    return " ".join(["Claude", line.title(), ".".join(version[:2])])


def _newest(model_id: str, line: Line, *thinking: str, **facts: Any) -> Model:
    """Make a model of the 5.1 and 5.5 families: thinking is bound to an append-only history."""
    return Model(
        id=model_id, line=line, thinking=("adaptive", *thinking), binds_history=True, **facts
    )


def _oldest(model_id: str, line: Line, created_at: str, *efforts: str, **facts: Any) -> Model:
    """Make a model of the 4.5 families: a thinking budget, prefill, a small window."""
    return Model(
        id=model_id,
        line=line,
        thinking=("enabled", "disabled"),
        efforts=efforts,
        prefill=True,
        shows_thinking=True,
        created_at=created_at,
        input_tokens_max=200_000,
        output_tokens_max=64_000,
        **facts,
    )


_SONNET_4_5_ENDS = {"lifecycle": "deprecated", "retires_at": "2026-11-30T00:00:00Z"}
_UNTIL_4_6: dict[str, Any] = {
    "efforts": ("low", "medium", "high", "max"),
    "shows_thinking": True,
}

# Newest first, which is the order of `GET /v1/models`.
MODELS: Mapping[str, Model] = {
    model.id: model
    for model in (
        _newest("claude-fable-5-2", "fable", forced_tool_choice=False),
        _newest("claude-mythos-5-2", "mythos", forced_tool_choice=False),
        _newest("claude-haiku-5-5", "haiku", "disabled"),
        _newest(
            "claude-sonnet-5-5",
            "sonnet",
            "between_tools",
            forced_tool_choice=False,
            created_at="2026-09-28T00:00:00Z",
        ),
        _newest("claude-fable-5-1", "fable", forced_tool_choice=False),
        _newest(
            "claude-opus-5-5", "opus", forced_tool_choice=False, created_at="2026-09-22T00:00:00Z"
        ),
        _newest("claude-mythos-5-1", "mythos", forced_tool_choice=False),
        Model(
            id="claude-opus-5",
            line="opus",
            thinking=("adaptive", "disabled"),
            created_at="2026-07-24T00:00:00Z",
        ),
        Model(
            id="claude-sonnet-5",
            line="sonnet",
            thinking=("adaptive", "disabled"),
            created_at="2026-06-30T00:00:00Z",
        ),
        Model(id="claude-fable-5", line="fable", thinking=("adaptive",)),
        Model(id="claude-mythos-5", line="mythos", thinking=("adaptive",)),
        Model(id="claude-opus-4-8", line="opus", thinking=("adaptive", "disabled")),
        Model(id="claude-opus-4-7", line="opus", thinking=("adaptive", "disabled")),
        Model(
            id="claude-opus-4-6",
            line="opus",
            thinking=("adaptive", "enabled", "disabled"),
            **_UNTIL_4_6,
        ),
        Model(
            id="claude-sonnet-4-6",
            line="sonnet",
            thinking=("adaptive", "enabled", "disabled"),
            **_UNTIL_4_6,
        ),
        Model(
            id="claude-mythos-preview",
            line="mythos",
            thinking=("adaptive",),
            lifecycle="retired",
            retires_at="2026-06-30T00:00:00Z",
        ),
        _oldest(
            "claude-opus-4-5-20251101", "opus", "2025-11-01T00:00:00Z", "low", "medium", "high"
        ),
        _oldest("claude-haiku-4-5-20251001", "haiku", "2025-10-01T00:00:00Z"),
        _oldest("claude-sonnet-4-5-20250929", "sonnet", "2025-09-29T00:00:00Z", **_SONNET_4_5_ENDS),
    )
}

_ALIASES = {
    "claude-opus-4-5": "claude-opus-4-5-20251101",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
}


def find_model(model_id: str) -> Model | None:
    """Look a model up by its id or its alias; a retired one is not served."""
    return MODELS.get(_ALIASES.get(model_id, model_id))


def list_models(
    *,
    limit: int = 20,
    after_id: str | None = None,
    before_id: str | None = None,
    lifecycle: Sequence[str] = (),
) -> dict[str, Any]:
    """Answer as `GET /v1/models` does, one page of it."""
    ids = [model.id for model in MODELS.values() if not lifecycle or model.lifecycle in lifecycle]
    rest = _between(ids, after_id, before_id)
    page = rest[-limit:] if before_id in ids else rest[:limit]
    return {
        "data": [MODELS[model_id].to_wire() for model_id in page],
        "has_more": len(page) < len(rest),
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
    }


def _between(ids: list[str], after_id: str | None, before_id: str | None) -> list[str]:
    start = ids.index(after_id) + 1 if after_id in ids else 0
    end = ids.index(before_id) if before_id in ids else len(ids)
    return ids[start:end]
