"""How many random examples a property is tried with: a few while one works, all of them in CI.

`make test CI=true` tries all of them anywhere.
"""

import os

from hypothesis import settings

__all__ = ["IS_CI", "examples", "use_profile"]

IS_CI = bool(os.environ.get("CI"))
_QUICK_SHARE = 5
_QUICK_MIN = 20


def examples(count: int) -> int:
    """`count` in CI, elsewhere a share of it: what a few do not find, CI does."""
    return count if IS_CI else min(count, max(_QUICK_MIN, count // _QUICK_SHARE))


def use_profile() -> None:
    """Let properties that do not say a number be tried as often as `examples` says."""
    settings.register_profile("quick", max_examples=examples(settings().max_examples))
    if not IS_CI:
        settings.load_profile("quick")
