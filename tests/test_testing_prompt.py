"""Tokens, the prompt cache and sealed thinking follow the order of the prompt."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentrt.testing.prompt import CacheUse, PromptCache, estimate, read_prompt, seal

MARK = {"type": "ephemeral"}
WORDS = st.lists(st.text(max_size=20), min_size=1, max_size=8)


def talk(*texts: str, **more: Any) -> dict[str, Any]:
    """A conversation in which each text is one message, user first."""
    messages = [
        {"role": ("user", "assistant")[i % 2], "content": [{"type": "text", "text": text}]}
        for i, text in enumerate(texts)
    ]
    return {"model": "m", "messages": messages, **more}


@given(WORDS, WORDS)
def test_a_longer_prompt_counts_more(texts: list[str], more: list[str]) -> None:
    assert read_prompt(talk(*texts)).tokens < read_prompt(talk(*texts, *more)).tokens


@given(WORDS)
def test_marks_and_nulls_change_neither_count_nor_digest(texts: list[str]) -> None:
    plain = talk(*texts)
    echoed = talk(*texts)
    for message in echoed["messages"]:
        message["content"][0] |= {"citations": None, "cache_control": MARK}
    assert read_prompt(plain).digest == read_prompt(echoed).digest
    assert read_prompt(plain).tokens == read_prompt(echoed).tokens


@given(WORDS, WORDS)
def test_what_one_request_wrote_the_next_one_reads(texts: list[str], more: list[str]) -> None:
    cache = PromptCache()
    first = read_prompt(talk(*texts, cache_control=MARK))
    longer = read_prompt(talk(*texts, *more, cache_control=MARK))
    assert cache.use(first, "m") == CacheUse(read=0, written_5m=first.tokens)
    assert cache.use(longer, "m") == CacheUse(first.tokens, longer.tokens - first.tokens)
    assert cache.use(longer, "m") == CacheUse(read=longer.tokens)


def test_a_changed_prefix_reads_nothing() -> None:
    cache = PromptCache()
    cache.use(read_prompt(talk("Hi", cache_control=MARK)), "m")
    assert cache.use(read_prompt(talk("Ho", "there", cache_control=MARK)), "m").read == 0


def test_another_model_has_its_own_cache() -> None:
    cache, prompt = PromptCache(), read_prompt(talk("Hi", cache_control=MARK))
    cache.use(prompt, "m")
    assert cache.use(prompt, "n").read == 0


def test_without_a_mark_the_cache_has_no_part() -> None:
    cache, prompt = PromptCache(), read_prompt(talk("Hi"))
    assert cache.use(prompt, "m") == cache.use(prompt, "m") == CacheUse()


def test_each_mark_is_counted_at_its_own_lifetime() -> None:
    hour = {"type": "text", "text": "Be kind.", "cache_control": {**MARK, "ttl": "1h"}}
    prompt = read_prompt(talk("Hi", system=[hour], cache_control=MARK))
    system_tokens = estimate(prompt.segments[0].size)
    use = PromptCache().use(prompt, "m")
    assert use == CacheUse(0, prompt.tokens - system_tokens, system_tokens)


def test_a_mark_finds_a_prefix_at_most_twenty_blocks_back() -> None:
    cache, texts = PromptCache(), [str(number) for number in range(30)]
    first = read_prompt(talk(*texts[:1], cache_control=MARK))
    cache.use(first, "m")
    near = cache.use(read_prompt(talk(*texts[:21], cache_control=MARK)), "m")
    assert near.read == first.tokens
    other = PromptCache()
    other.use(first, "m")
    assert other.use(read_prompt(talk(*texts[:22], cache_control=MARK)), "m").read == 0


@given(st.text(), st.binary(min_size=32, max_size=32), st.text())
def test_a_seal_holds_for_one_text_only(text: str, before: bytes, other: str) -> None:
    def sent_back(shown: str) -> bool:
        thought = {"type": "thinking", "thinking": shown, "signature": seal(text, before)}
        prompt = read_prompt({"messages": [{"role": "assistant", "content": [thought]}]})
        return prompt.thoughts[0].is_genuine

    assert sent_back(text)
    assert sent_back(other) == (other == text)
