"""A prompt as Claude reads it: tools, system, messages, one block after the other.

Three things need it in that order: the count of tokens, the prompt cache, and thinking
blocks, which are bound to everything before them.

Tokens are estimated: a quarter of the bytes of the blocks' compact JSON, rounded up over
the whole prompt. Real tokenisation differs; what matters here is that a longer prompt has
more, and the same prompt always the same.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from pydantic_core import to_json

__all__ = [
    "CacheUse",
    "Prompt",
    "PromptCache",
    "Thought",
    "estimate",
    "extend",
    "read_prompt",
    "seal",
]

Ttl = Literal["5m", "1h"]

# How far back from a mark the API looks for a prefix that it kept.
_LOOK_BACK = 20


@dataclass(frozen=True, slots=True)
class Segment:
    """The prompt up to and with one block: its digest, its bytes, the mark that ends it."""

    digest: bytes
    size: int
    ttl: Ttl | None


@dataclass(frozen=True, slots=True)
class Thought:
    """A thinking block that was sent back, and the digest of what stands before it."""

    text: str
    signature: str
    before: bytes

    @property
    def is_genuine(self) -> bool:
        """Whether this very text was signed here."""
        place, _, mac = self.signature.removeprefix(_SEAL).partition(".")
        return self.signature.startswith(_SEAL) and mac == _mac(self.text, place)

    @property
    def is_in_place(self) -> bool:
        """Whether it stands after the same prompt as when it was written."""
        return self.signature.startswith(_SEAL + self.before.hex()[:32] + ".")


@dataclass(frozen=True, slots=True)
class Prompt:
    """The blocks in order, and the thinking found among them."""

    segments: tuple[Segment, ...]
    thoughts: tuple[Thought, ...]

    @property
    def digest(self) -> bytes:
        """The digest of the whole prompt."""
        return self.segments[-1].digest if self.segments else b""

    @property
    def tokens(self) -> int:
        """How many tokens the whole prompt counts."""
        return estimate(self.segments[-1].size) if self.segments else 0


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How many tokens of one prompt came from the cache and went into it."""

    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def tokens(self) -> int:
        """All that the cache had a part in."""
        return self.read + self.written_5m + self.written_1h


class PromptCache:
    """The prefixes that marks asked to keep. Nothing expires: time has no part in a script."""

    def __init__(self) -> None:
        self._kept: set[tuple[str, bytes]] = set()

    def use(self, prompt: Prompt, model: str) -> CacheUse:
        """Read the longest kept prefix of the prompt, and keep what its marks ask for."""
        marks = [index for index, segment in enumerate(prompt.segments) if segment.ttl]
        if not marks:
            return CacheUse()
        hit = max((self._hit(prompt, model, mark) for mark in marks), default=-1)
        read = done = estimate(prompt.segments[hit].size) if hit >= 0 else 0
        written: dict[Ttl | None, int] = {"5m": 0, "1h": 0}
        for mark in marks:
            segment = prompt.segments[mark]
            self._kept.add((model, segment.digest))
            end = estimate(segment.size)
            written[segment.ttl] += max(0, end - done)
            done = max(done, end)
        return CacheUse(read, written["5m"], written["1h"])

    def _hit(self, prompt: Prompt, model: str, mark: int) -> int:
        for index in range(mark, max(-1, mark - _LOOK_BACK - 1), -1):
            if (model, prompt.segments[index].digest) in self._kept:
                return index
        return -1


def read_prompt(request: dict[str, Any]) -> Prompt:
    """Put the blocks of a checked request in the order in which Claude reads them."""
    segments: list[Segment] = []
    thoughts: list[Thought] = []
    digest, size = b"", 0
    for role, block in _blocks(request):
        if block.get("type") == "thinking":
            thoughts.append(Thought(block["thinking"], block["signature"], digest))
        digest, block_size = extend(digest, role, block)
        size += block_size
        segments.append(Segment(digest, size, _ttl(block)))
    if segments and (automatic := _ttl(request)):
        last = segments[-1]
        segments[-1] = Segment(last.digest, last.size, last.ttl or automatic)
    return Prompt(tuple(segments), tuple(thoughts))


def _blocks(request: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        *(("tool", tool) for tool in request.get("tools") or ()),
        *(("prompt", block) for block in request.get("system") or ()),
        *((m["role"], block) for m in request["messages"] for block in m["content"]),
    ]


def _ttl(marked: dict[str, Any]) -> Ttl | None:
    mark = marked.get("cache_control")
    return (mark.get("ttl") or "5m") if mark else None


def extend(digest: bytes, role: str, block: dict[str, Any]) -> tuple[bytes, int]:
    """Add one block to a prompt's digest; also says how many bytes the block counts."""
    data = _canonical(block)
    return sha256(b"%s%s:%s" % (digest, role.encode(), data)).digest(), len(data)


def _canonical(block: dict[str, Any]) -> bytes:
    """Write a block so that an echo of it reads the same.

    SDKs echo blocks with nulls for what was absent, `caller` may be left out, and marks
    move: none of these is a change of the conversation. The order of keys inside an input is
    one, as it is for the API's own prompt cache.
    """
    said = {key: block[key] for key in sorted(block) if _is_said(key, block[key])}
    return to_json(said)


def _is_said(key: str, value: Any) -> bool:
    return key not in ("cache_control", "caller") and value not in (None, False, [])


def estimate(size: int) -> int:
    """Estimate the tokens of so many bytes."""
    return -(-size // 4)


_SEAL = "sim."


def seal(text: str, before: bytes) -> str:
    """Sign a thinking block: its text, and the digest of the prompt it was written after.

    The signature can be checked by any stand-in, also one started later; it is no secret.
    """
    place = before.hex()[:32]
    return f"{_SEAL}{place}.{_mac(text, place)}"


def _mac(text: str, place: str) -> str:
    return sha256(f"agentrt stand-in\n{place}\n{text}".encode()).hexdigest()[:32]
