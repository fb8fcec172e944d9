"""What came of all strikes, as lines and as the table in docs/reliability.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["DOCUMENT", "Totals", "write_table"]

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "reliability.md"
MARKED = re.compile(r"(<!-- table -->\n).*?(<!-- end of table -->)", re.DOTALL)
COLUMNS = ("worlds", "kills", "sends", "doubts", "asked")


@dataclass
class Totals:
    """Sums by store and kind."""

    rows: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, worlds: Iterable[dict[str, Any]]) -> Totals:
        totals = cls()
        for world in worlds:
            row = totals.rows.setdefault(
                (world["store"], world["kind"]), dict.fromkeys((*COLUMNS, "wrong"), 0)
            )
            row["worlds"] += 1
            row["wrong"] += len(world["wrong"])
            for name in COLUMNS[1:]:
                row[name] += world[name]
            totals.wrong += world["wrong"]
        return totals

    @property
    def good(self) -> bool:
        return not self.wrong

    @property
    def kills(self) -> int:
        return sum(row["kills"] for row in self.rows.values())

    def lines(self) -> Iterator[str]:
        for (store, kind), row in sorted(self.rows.items()):
            yield f"{store:9} {kind:9} " + ", ".join(f"{row[n]} {n}" for n in (*COLUMNS, "wrong"))
        yield f"{self.kills} kills, {len(self.wrong)} findings"
        yield from self.wrong

    def table(self) -> Iterator[str]:
        yield "| store | kind | worlds | kills | effects | doubts | put to a person | wrong |"
        yield "|---|---|---|---|---|---|---|---|"
        for (store, kind), row in sorted(self.rows.items()):
            figures = " | ".join(f"{row[name]:,}" for name in (*COLUMNS, "wrong"))
            yield f"| {store} | {kind} | {figures} |"
        sums = [sum(row[name] for row in self.rows.values()) for name in (*COLUMNS, "wrong")]
        yield "| all | | " + " | ".join(f"{each:,}" for each in sums) + " |"


def write_table(totals: Totals, *, command: str) -> None:
    """Put the table between the marks of docs/reliability.md."""
    text = "\n".join([f"`{command}`:", "", *totals.table(), ""])
    DOCUMENT.write_text(
        MARKED.sub(lambda found: f"{found[1]}{text}{found[2]}", DOCUMENT.read_text())
    )
