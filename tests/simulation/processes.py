"""Processes in virtual time, on one event loop. Each can be paused or killed at any point, as by a signal.

All code of a process runs in a context that names the process. The loop looks at that context before each step: the
steps of a paused process wait, in order, until it goes on; the steps of a killed process never happen. When nobody has
anything to do, time goes to the next timer at once, so hours take seconds.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple

_PROCESS: ContextVar["Process | None"] = ContextVar("process", default=None)


class Process:
    """One running program on one host. `host` is the name of the host."""

    def __init__(self, loop: "VirtualLoop", host: str) -> None:
        self._loop = loop
        self.host = host
        self.paused = False
        self.dead = False
        self._waiting: list[tuple[Context, Callable[..., Any], tuple[Any, ...], list[asyncio.Handle]]] = []
        self._children: dict[asyncio.Task[Any], None] = {}
        self._at_death: list[Callable[[], object]] = []

    def start(self, work: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
        """Run something in this process."""
        context = Context()
        context.run(_PROCESS.set, self)
        child = self._loop.create_task(work, name=name, context=context)
        self._children[child] = None
        child.add_done_callback(self._ended, context=Context())
        return child

    def _ended(self, child: asyncio.Task[Any]) -> None:
        del self._children[child]

    def pause(self) -> None:
        """Pause, as by SIGSTOP."""
        self.paused = True

    def resume(self) -> None:
        """Go on, as by SIGCONT: all that came meanwhile, also timers, happens now."""
        if self.paused and not self.dead:
            self.paused = False
            waiting, self._waiting = self._waiting, []
            for context, callback, args, handle in waiting:
                self._loop.call_soon(_unless_cancelled, handle[0], callback, args, context=context)

    def kill(self) -> None:
        """End, as by SIGKILL."""
        self.paused = self.dead = True
        for tell in self._at_death:
            tell()
        self._at_death.clear()

    def at_death(self, tell: Callable[[], object]) -> None:
        """Register a callback for when the process is killed."""
        self._at_death.append(tell)

    async def bury(self) -> None:
        """Cancel what a dead process has left, at the end of a simulation."""
        self.dead = False
        self.resume()
        children = list(self._children)
        for child in children:
            child.cancel()
        if children:
            await asyncio.wait(children)

    def step(
        self, context: Context, callback: Callable[..., Any], args: tuple[Any, ...], handle: list[asyncio.Handle]
    ) -> None:
        """Run a step that the loop has for this process, if the process runs."""
        if self.paused:
            self._waiting.append((context, callback, args, handle))
        else:
            callback(*args)


def _unless_cancelled(handle: asyncio.Handle, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if not handle.cancelled():
        callback(*args)


T = TypeVar("T")
_Ts = TypeVarTuple("_Ts")


def running() -> Process:
    """Return the process whose code calls this."""
    process = _PROCESS.get()
    assert process is not None
    return process


class _NoFiles(selectors.SelectSelector):
    """A selector that waits for no file. It lets time pass instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nobody has anything to do, now or ever"
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer."""

    def __init__(self) -> None:
        self._files = _NoFiles()
        super().__init__(self._files)

    def time(self) -> float:
        return self._files.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*_Ts], T], *args: *_Ts) -> asyncio.Future[T]:
        """Call at once what would block."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - is the caller's
            done.set_exception(error)
        return done

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        context = context if context is not None else copy_context()
        process = context.get(_PROCESS)
        if process is None:
            return super().call_soon(callback, *args, context=context)
        handle: list[asyncio.Handle] = []
        handle.append(super().call_soon(process.step, context, callback, args, handle, context=context))
        return handle[0]

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = context if context is not None else copy_context()
        process = context.get(_PROCESS)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        handle: list[asyncio.Handle] = []
        timer = super().call_at(when, process.step, context, callback, args, handle, context=context)
        handle.append(timer)
        return timer


class Now:
    """An executor that calls at once what would block elsewhere."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> "Now":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *args: Any) -> Any:
        done: Future[Any] = Future()
        try:
            done.set_result(work(*args))
        except Exception as error:  # noqa: BLE001 - is the caller's
            done.set_exception(error)
        return done
