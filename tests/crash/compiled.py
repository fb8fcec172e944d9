"""Statements that were compiled once, before the fork, are not compiled again in every child.

SQLAlchemy keeps them with the engine, and each child has an engine of its own; for processes that
live for a tenth of a second that is most of what they do. Nothing else is shared.
"""

from __future__ import annotations

import sys
from typing import Any

from sqlalchemy import Engine

__all__ = ["share_compiled"]


def share_compiled() -> None:
    """Let the engines that agentrt makes from now on have one cache, for each kind of database."""
    first: dict[str, Engine] = {}
    for module in [found for name, found in sys.modules.items() if name.startswith("agentrt.")]:
        if create := vars(module).get("create_engine"):

            def sharing(*arguments: Any, create: Any = create, **options: Any) -> Engine:
                engine: Engine = create(*arguments, **options)
                known = first.setdefault(engine.dialect.name, engine)
                engine.dialect = known.dialect
                engine._compiled_cache = known._compiled_cache
                return engine

            vars(module)["create_engine"] = sharing
