"""Tools by name."""

from collections.abc import Iterable, Iterator, Mapping

from agentrt.errors import DuplicateTool
from agentrt.tools.tool import Tool

__all__ = ["Tools"]


class Tools(Mapping[str, Tool]):
    """An immutable mapping from name to tool, in the order of the names.

    The order never changes between requests, so that the cached prefix holds.
    Raises DuplicateTool when two different tools have one name.
    """

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        by_name: dict[str, Tool] = {}
        for tool in tools:
            _check_same(by_name.setdefault(tool.name, tool), tool)
        self._by_name = dict(sorted(by_name.items()))

    def __getitem__(self, name: str) -> Tool:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"Tools({', '.join(self)})"


def _check_same(first: Tool, second: Tool) -> None:
    # One file may be found twice: in a project's folder and through an entry point.
    if (first.source, first.digest) != (second.source, second.digest):
        raise DuplicateTool(
            f"Two tools are called {first.name}: {first.source} and {second.source}. "
            "Rename one: @tool(name=...)."
        )
