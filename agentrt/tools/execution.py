"""Runs a tool's function where it can hang or die without taking the process along."""

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from agentrt.tools.threads import run_in_thread

__all__ = ["execute"]


async def execute(function: Callable[..., Any], values: Mapping[str, object]) -> Any:
    """Await an `async def`; run a `def` in a daemon thread of its own with this task's context.

    Whatever the function raises comes out as an `Exception`, even SystemExit. Cancelling
    the awaiting task cancels a coroutine; a thread is left to end by itself.
    """
    try:
        if inspect.iscoroutinefunction(function):
            return await function(**values)
        result = await _in_thread(partial(function, **values), name=_name(function))
        # A decorator may hide that what it wraps is an `async def`.
        return await result if inspect.isawaitable(result) else result
    except (Exception, GeneratorExit):
        raise
    except asyncio.CancelledError as error:
        if _being_cancelled():
            raise
        raise _ended(function, error) from error
    except BaseException as error:
        raise _ended(function, error) from error


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _ended(function: Callable[..., Any], error: BaseException) -> RuntimeError:
    return RuntimeError(f"{_name(function)} raised {type(error).__name__}")


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", function))


async def _in_thread(work: Callable[[], Any], *, name: str) -> Any:
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def carry() -> None:
        try:
            deliver = partial(_set_result, outcome, context.run(work))
        except BaseException as error:  # noqa: BLE001 - someone else's code, in its own thread
            deliver = partial(_set_error, outcome, _as_exception(error, name))
        _post(loop, deliver)

    run_in_thread(carry)
    return await outcome


def _as_exception(error: BaseException, name: str) -> Exception:
    """A future cannot carry StopIteration, and the others would end the event loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = RuntimeError(f"{name} raised {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped


def _post(loop: asyncio.AbstractEventLoop, deliver: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(deliver)
    except RuntimeError:
        # The loop is closed: nobody waits for this result any more.
        return


def _set_result(outcome: "asyncio.Future[Any]", result: object) -> None:
    if not outcome.done():
        outcome.set_result(result)


def _set_error(outcome: "asyncio.Future[Any]", error: Exception) -> None:
    if not outcome.done():
        outcome.set_exception(error)
