"""What the support desk knows: articles for its own use."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from agentrt import tool

from ._shop import reading

ARTICLES_MAX = 3


@dataclass(frozen=True)
class Article:
    """What we do in one kind of case."""

    title: str
    text: str


@tool(effect="read")
def search_knowledge(
    question: Annotated[str, Field(min_length=3, max_length=300)],
) -> list[Article]:
    """Search the articles on how we handle a customer's question: up to three, best first.

    Args:
        question: The customer's question in a few words.
    """
    with reading() as shop:
        rows = shop.execute("SELECT title, text FROM article ORDER BY id").fetchall()
    rated = [(_words_shared(question, article), article) for article in map(_article, rows)]
    rated.sort(key=lambda pair: -pair[0])
    return [article for shared, article in rated[:ARTICLES_MAX] if shared]


def _article(row: tuple[str, str]) -> Article:
    title, text = row
    return Article(title, text)


def _words_shared(question: str, article: Article) -> int:
    return len(_words(question) & _words(f"{article.title} {article.text}"))


def _words(text: str) -> set[str]:
    """The words long enough to say what a text is about."""
    return {word for word in re.findall(r"\w+", text.casefold()) if len(word) > 3}
