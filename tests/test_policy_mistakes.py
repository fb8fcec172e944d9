"""Every class of mistake is shown on the page, and what is shown there is what is said."""

import policy_mistakes


def test_the_page_shows_every_class_of_mistake_with_its_real_output() -> None:
    assert policy_mistakes.on_the_page() == policy_mistakes.section()


def test_something_is_said_of_every_class() -> None:
    assert list(policy_mistakes.silent()) == []


def test_every_mistake_is_told_with_file_line_column_and_the_line_itself() -> None:
    for title, text in policy_mistakes.MISTAKES.items():
        place, line, mark = policy_mistakes.told(text).splitlines()
        assert place.startswith("money.yaml:"), title
        assert line.strip(), title
        assert mark.strip() == "^", title
