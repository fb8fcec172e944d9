"""A page: stories of calls, runs or records as one HTML file to hand to an auditor.

It asks nothing of anybody when it is opened: no script, no request. What others wrote is escaped
twice: for the eye (`visible`) and for the browser.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from agentrt.run.state import moment
from agentrt.run.trace import Trace
from agentrt.run.why import Fact, Why
from agentrt.visible import visible

__all__ = ["page"]

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #666; --line: #ddd;
  --block: #f6f6f4; --mark: #0a5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #161616; --soft: #9a9a9a;
  --line: #333; --block: #202020; --mark: #4c9; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
ol { list-style: none; padding: 0; border-left: 2px solid var(--line); }
li { padding: .4rem 0 .4rem 1rem; break-inside: avoid; }
.place { color: var(--soft); font: 12px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.what { font-weight: 600; overflow-wrap: anywhere; }
pre { background: var(--block); padding: .4rem .6rem; margin: .3rem 0; white-space: pre-wrap;
  overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace; }
footer { color: var(--soft); font-size: 12px; margin-top: 3rem; border-top: 1px solid var(--line); }
@media print { body { max-width: none; margin: 0; font-size: 10pt; color: #000; background: #fff; }
  pre { background: none; border: 1px solid #bbb; } }
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a browser is told: nothing is loaded, nothing runs, nothing is sent."""


def page(title: str, stories: Sequence[Why | Trace], about: Mapping[str, str]) -> str:
    """The whole file. `about` is said at the top: where it comes from, and when it was made."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_safe(title)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            f"<h1>{_safe(title)}</h1>",
            *_listed(about),
            *(line for story in stories for line in _story(story)),
            "<footer>Made by agentrt from the records of the audit store. Each record is named by "
            "its hash: <code>agentrt audit view RUN SEQ</code> shows it whole, and <code>agentrt "
            "audit verify</code> says whether it is what was written.</footer>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _story(story: Why | Trace) -> Iterator[str]:
    if isinstance(story, Why):
        call = story.call
        yield f"<h2>{_safe(call.tool)}: {_safe(call.status)}</h2>"
        yield from _listed({"call": call.id, "run": story.run.id, "turn": str(call.turn)})
        led_here = story.led_here
    else:
        yield f"<h2>Record {story.fact.seq}: {_safe(story.fact.text)}</h2>"
        yield from _listed({"run": story.run})
        led_here = (*story.led_here, story.fact)
    yield "<h3>What led here</h3>"
    yield from _facts(led_here)
    if story.followed:
        yield "<h3>What followed</h3>"
        yield from _facts(story.followed)


def _listed(values: Mapping[str, str]) -> Iterator[str]:
    rows = (f"<dt>{_safe(name)}</dt><dd>{_safe(value)}</dd>" for name, value in values.items())
    yield f"<dl>{''.join(rows)}</dl>"


def _facts(facts: Sequence[Fact]) -> Iterator[str]:
    yield "<ol>"
    for fact in facts:
        time = moment(fact.at).strftime("%Y-%m-%d %H:%M:%SZ")
        yield "<li>"
        yield f'<div class="place">{fact.seq} · {time} · {_safe(fact.type)} · {fact.hash}</div>'
        yield f'<div class="what">{_safe(fact.text)}</div>'
        yield from (f"<pre>{_safe(detail, lines=True)}</pre>" for detail in fact.details)
        yield "</li>"
    yield "</ol>"


def _safe(text: str, *, lines: bool = False) -> str:
    return escape(visible(text, lines=lines))
