"""Threads for functions that block: each function has one to itself, reused when it comes back.

Not the event loop's executor: its threads are joined at exit, so that one hung tool would keep
the process alive, and enough of them would leave no thread for the others. Here a thread that
hangs is simply never idle again.
"""

import os
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

__all__ = ["run_in_thread"]

IDLE_MAX = 32

_idle: "deque[_ToolThread]" = deque()
# A forked child has none of its parent's threads.
os.register_at_fork(after_in_child=_idle.clear)


def run_in_thread(work: Callable[[], None]) -> None:
    """Have `work`, which must not raise, done by a daemon thread that does nothing else."""
    try:
        thread = _idle.pop()
    except IndexError:
        thread = _ToolThread()
        thread.start()
    thread.work.put(work)


class _ToolThread(Thread):
    def __init__(self) -> None:
        super().__init__(name="agentrt-tool", daemon=True)
        self.work: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def run(self) -> None:
        while True:
            self.work.get()()
            if len(_idle) >= IDLE_MAX:
                return
            _idle.append(self)
