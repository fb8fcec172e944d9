"""A tool may hang or die; the process does not."""

import asyncio
import contextvars
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import pytest

from agentrt.tools.execution import execute

WHO = contextvars.ContextVar("WHO", default="nobody")


async def test_a_blocking_function_runs_in_its_own_daemon_thread() -> None:
    def where() -> threading.Thread:
        return threading.current_thread()

    thread = await execute(where, {})
    assert thread.daemon
    assert thread is not threading.current_thread()


async def test_functions_at_work_at_once_share_no_thread_and_one_that_comes_back_is_reused() -> (
    None
):
    together = threading.Barrier(5, timeout=10)

    def meet() -> threading.Thread:
        together.wait()
        return threading.current_thread()

    threads = await asyncio.gather(*[execute(meet, {}) for _ in range(5)])
    assert len(set(threads)) == 5
    assert await execute(threading.current_thread, {}) in threads


async def test_a_thread_sees_the_context_of_the_task() -> None:
    def look() -> str:
        return WHO.get()

    WHO.set("ada")
    assert await execute(look, {}) == "ada"


class Odd(BaseException):
    """An exception of nobody's tree."""


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), StopIteration(), asyncio.CancelledError(), Odd()]
)
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_whatever_a_function_raises_comes_out_as_an_exception(
    error: BaseException, kind: str
) -> None:
    def fail() -> None:
        raise error

    async def fail_later() -> None:
        raise error

    with pytest.raises(RuntimeError, match=r"raised|StopIteration") as raised:
        await execute(fail if kind == "def" else fail_later, {})
    assert raised.value.__cause__ is error


async def test_a_coroutine_behind_a_plain_decorator_is_awaited() -> None:
    async def get_one() -> int:
        return 1

    def decorated() -> Any:
        return get_one()

    assert await execute(decorated, {}) == 1


async def test_an_ordinary_exception_stays_what_it_was() -> None:
    def fail() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        await execute(fail, {})


async def test_cancelling_the_task_leaves_the_thread_to_end_by_itself() -> None:
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        leave.wait(30)
        left.set()

    task = asyncio.create_task(execute(wait, {}))
    await asyncio.to_thread(entered.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    leave.set()
    assert await asyncio.to_thread(left.wait, 30)


async def test_cancelling_the_task_cancels_a_coroutine() -> None:
    entered = asyncio.Event()

    async def wait() -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(execute(wait, {}))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_result_that_comes_after_the_loop_is_gone_is_dropped() -> None:
    leave = threading.Event()
    threads: list[threading.Thread] = []

    def wait() -> None:
        threads.append(threading.current_thread())
        leave.wait(30)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(execute(wait, {}), 0.01)

    asyncio.run(give_up())
    leave.set()
    # An error would have ended the thread; instead it serves the next function.
    assert asyncio.run(_served_by(threads[0]))


async def _served_by(thread: threading.Thread) -> bool:
    for _ in range(100):
        if await execute(threading.current_thread, {}) is thread:
            return True
    return False


def ran(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_hung_tool_never_keeps_the_process_alive() -> None:
    finished = ran("""
        import asyncio, threading
        from agentrt.tools.execution import execute

        async def main():
            for _ in range(50):
                try:
                    await asyncio.wait_for(execute(threading.Event().wait, {}), 0.001)
                except TimeoutError:
                    pass

        asyncio.run(main())
        print("over")
    """)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "over\n", "")


async def test_many_blocking_tools_run_at_once() -> None:
    together = threading.Barrier(40)

    def meet() -> int:
        return together.wait(30)

    work: list[Callable[..., Any]] = [meet] * 40
    met = await asyncio.gather(*(execute(function, {}) for function in work))
    assert sorted(met) == list(range(40))
