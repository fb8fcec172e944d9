import json
from typing import get_args

import pytest
from facts import any_event, events_of
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from worlds import replied, started, use

from agentrt.events import (
    CONTENT,
    FORGOTTEN_TEXT,
    AnyEvent,
    CallDecided,
    CallRejected,
    CallSettled,
    ClaudeReplied,
    Event,
    RunStarted,
    User,
    event_types,
    load_event,
)


def test_every_class_of_the_union_is_found_by_its_type() -> None:
    assert set(event_types().values()) == set(get_args(AnyEvent))


@pytest.mark.parametrize("name", event_types())
def test_an_event_is_named_as_a_noun_and_what_befell_it(name: str) -> None:
    noun, verb = name.split(".")
    assert event_types()[name].__name__ == noun.title() + verb.title()
    assert verb.endswith(("ed", "en"))


@given(any_event())
def test_an_event_comes_back_from_its_header_and_parts(event: AnyEvent) -> None:
    assert load_event(event.header(), event.parts()) == event


@given(any_event())
def test_the_header_is_plain_json_without_a_marked_field(event: AnyEvent) -> None:
    header = json.loads(json.dumps(event.header()))
    assert header == event.header()
    assert not set(header) & set(event.storage)
    assert set(event.parts()) <= set(event.storage)


PERSONAL = "Erika Mustermann"


@given(
    st.sampled_from(list(event_types().values())).flatmap(
        lambda cls: events_of(cls).map(_with_a_person_in_every_content)
    )
)
def test_no_header_holds_what_stands_in_a_content_field(event: AnyEvent) -> None:
    assert PERSONAL not in json.dumps(event.header(), ensure_ascii=False)


def _with_a_person_in_every_content(event: AnyEvent) -> AnyEvent:
    personal: dict[str, object] = {}
    for name, mark in event.storage.items():
        value = getattr(event, name)
        if mark is not CONTENT or value is None:
            continue
        if isinstance(value, bytes):
            personal[name] = json.dumps([PERSONAL]).encode()
        else:
            personal[name] = User(name=PERSONAL) if isinstance(value, User) else PERSONAL
    return event.model_copy(update=personal)


def test_an_event_cannot_be_changed_or_say_more_than_it_knows() -> None:
    event = started()
    with pytest.raises(ValidationError):
        event.prompt = "another"
    with pytest.raises(ValidationError):
        RunStarted.model_validate({**event.header(), "prompt": "x", "definition": b"{}", "tip": 1})


def test_json_that_was_sent_or_received_keeps_its_bytes() -> None:
    blocks = b'[ {"type" : "text","text":"\\u00e4 1.0" } ]'
    event = replied(use("pay")).model_copy(update={"blocks": blocks})
    assert event.parts()["blocks"] == blocks
    back = ClaudeReplied.load(event.header(), event.parts())
    assert back.blocks == blocks


def test_content_that_was_erased_reads_as_a_placeholder() -> None:
    event = started("secret", user=User(name="mona"))
    gone = dict.fromkeys(event.parts(), None) | {"definition": event.definition}
    back = RunStarted.load(event.header(), gone)
    assert back.prompt == FORGOTTEN_TEXT
    assert back.user is None
    assert back.definition == event.definition


@given(any_event())
def test_every_event_can_be_read_with_all_its_content_erased(event: AnyEvent) -> None:
    back = load_event(event.header(), dict.fromkeys(event.parts(), None))
    assert back.header() == event.header()


@given(any_event())
def test_the_data_of_an_event_is_json_and_has_all_its_fields(event: AnyEvent) -> None:
    data = json.loads(json.dumps(event.data()))
    with_value = {name for name in type(event).model_fields if getattr(event, name) is not None}
    assert set(data) == with_value - {"shown"}


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(KeyError):
        load_event({"type": "run.improved"}, {})


@pytest.mark.parametrize(
    ("cls", "person"),
    [
        (RunStarted, {"prompt", "user", "history", "shown"}),
        (ClaudeReplied, {"blocks", "shown"}),
        (CallDecided, {"arguments", "reason", "preview", "editor", "facts", "asked", "shown"}),
        (CallRejected, {"by", "reason", "statement", "signature"}),
        (CallSettled, {"by", "reason", "result", "statement", "signature"}),
    ],
)
def test_what_can_name_a_person_is_erasable(cls: type[Event], person: set[str]) -> None:
    assert {name for name, mark in cls.storage.items() if mark.erasable} == person
