"""The employee's Python session: what runs give as text, and the images they show as files of the workspace."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress

from agent.capabilities.compute_actions import SESSION_OVERHEAD, SESSION_SECONDS, RanPython
from agent.capabilities.ends import ask_for_more, run_in_words
from agent.capabilities.excerpt import Excerpt
from agent.errors import ActionFailed
from workstation.errors import ComputeError, SessionBusy, SessionLost, SessionNotFound, WorkstationError
from workstation.interface import (
    Compute,
    EndReason,
    ExecLimits,
    FileSystem,
    RichResult,
    RunEnd,
    SessionError,
    SessionEvent,
    SessionSpec,
    SessionText,
)

SESSION = "python"
"""One for all conversations of the employee, as a person has one desk."""
CHARTS = "charts"
LINE_SECONDS = SESSION_SECONDS - SESSION_OVERHEAD
"""What a call may wait in line and run, together."""
BUSY_PAUSE = 0.1
"""Seconds between two looks at a session that still ends a run that was cut short."""
OUTPUT = {"head": 8_000, "tail": 8_000}
ERROR_BYTES = 4_000
MAX_IMAGES = 8
_REMEMBERED = 64
_LOST = RunEnd(reason=EndReason.LOST, session_alive=False)
_IMAGES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg", "image/gif": "gif", "image/webp": "webp"}
_TEXTS = ("text/plain", "text/markdown", "text/html", "application/json", "text/latex")
_SAVES = re.compile(r"\.(?:savefig|imsave|write_image|save)\s*\(|\bimwrite\s*\(")
"""Code that puts an image into a file itself; the one it shows besides is the same."""
_SAVED_AS = re.compile(
    r"(?:\.(?:savefig|imsave|write_image|save)|\bimwrite)\s*\(\s*(['\"])([^'\"\n]{1,200}\.(?:png|jpe?g|svg|gif|webp))\1"
)
"""Such code that has the file's name in it, beneath the working directory."""


class PythonSession:
    """Runs code in one session, one run at a time in the order they came, and opens the session anew when it is gone."""

    def __init__(
        self,
        compute: Callable[[], Awaitable[Compute]],
        files: FileSystem,
        more_memory: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        self._compute, self._files, self._more_memory = compute, files, more_memory
        self._memory = 0
        self._turn = asyncio.Lock()  # first come, first served
        self._waiting: deque[str] = deque(maxlen=_REMEMBERED)
        self._runs: deque[str] = deque(maxlen=_REMEMBERED)

    def knows(self, run_id: str) -> bool:
        """Whether this run never got its turn, or its session may still tell what came of it."""
        return run_id in self._waiting or run_id in self._runs

    async def run(self, run_id: str, code: str, timeout: float) -> RanPython:
        """Run code when its turn comes; the same `run_id` again answers what came of it the first time."""
        if not self.knows(run_id):
            self._waiting.append(run_id)
        begun = run_id in self._runs
        async with self._in_turn(LINE_SECONDS - timeout) as until:
            try:
                return await self._run_when_free(run_id, code, timeout, until)
            except (SessionNotFound, SessionLost):
                self._runs.clear()
                if begun:  # by a call that was cut short, in a session that is gone now
                    return RanPython(end=run_in_words(_LOST, failed=False), output="", error="", files=[])
                await (await self._compute()).open_session(SESSION, self._spec())
                return await self._run_when_free(run_id, code, timeout, until)

    async def restart(self, memory: int = 0, *, closes: bool = True) -> None:
        """End the session after the runs that came before, if there may be one; the next one has `memory` bytes."""
        async with self._in_turn(LINE_SECONDS):
            self._runs.clear()
            self._memory = memory
            if closes:
                await (await self._compute()).close_session(SESSION)

    def _spec(self) -> SessionSpec:
        return SessionSpec(limits=ExecLimits(memory_bytes=self._memory or None))

    @asynccontextmanager
    async def _in_turn(self, patience: float) -> AsyncIterator[float]:
        """Wait in line for `patience` seconds at most, then have the session alone; gives when patience ends."""
        until = _now() + patience
        try:
            async with asyncio.timeout_at(until):
                await self._turn.acquire()
        except TimeoutError:
            raise _not_begun() from None
        try:
            yield until
        finally:
            self._turn.release()

    async def _run_when_free(self, run_id: str, code: str, timeout: float, until: float) -> RanPython:
        """Run it, as soon as the session has ended a run before that nobody waits for any more."""
        while True:
            try:
                return await self._run(run_id, code, timeout)
            except SessionBusy:
                if _now() >= until:
                    raise _not_begun() from None
                await asyncio.sleep(BUSY_PAUSE)

    async def _run(self, run_id: str, code: str, timeout: float) -> RanPython:
        compute = await self._compute()
        told = _Told(run_id, self._files, saves=_SAVES.search(code) is not None)
        named = [match[2] for match in _SAVED_AS.finditer(code)][:MAX_IMAGES]
        before = await self._versions(named)
        if run_id in self._waiting:
            self._waiting.remove(run_id)
        if run_id not in self._runs:
            self._runs.append(run_id)
        async with aclosing(compute.run_in_session(SESSION, run_id, code, timeout=timeout)) as events:
            async for event in events:
                if isinstance(event, RunEnd):
                    after = await self._versions(named)
                    saved = [path for path in after if after[path] != before.get(path)]
                    return told.all(event, saved, self._hint(event))
                await told.take(event)
        raise ComputeError("the run ended without saying how", target=run_id)

    def _hint(self, end: RunEnd) -> str:
        if end.reason is not EndReason.OUT_OF_MEMORY:
            return ""
        more = self._more_memory(self._memory)
        return ask_for_more(more, "restart_python before it and there memory_mb")

    async def _versions(self, paths: list[str]) -> dict[str, str]:
        """The versions of those files that are there."""
        found: dict[str, str] = {}
        for path in paths:
            with suppress(WorkstationError):
                found[path] = (await self._files.stat(path)).version
        return found


def _now() -> float:
    return asyncio.get_running_loop().time()


def _not_begun() -> ActionFailed:
    return ActionFailed(
        "Python is still busy with other messages, so this was not run and nothing was changed; "
        "call it again, or use run_command with python3"
    )


class _Told:
    """What one run has given so far."""

    def __init__(self, run_id: str, files: FileSystem, *, saves: bool) -> None:
        self._run_id, self._files, self._saves = run_id, files, saves
        self._output, self._error = Excerpt(**OUTPUT), Excerpt(head=ERROR_BYTES // 4, tail=ERROR_BYTES)
        self._failed, self._images = False, 0
        self._saved: list[str] = []
        self._ends_line = True

    async def take(self, event: SessionEvent) -> None:
        match event:
            case SessionText():
                self._write(event.text)
            case SessionError():
                self._failed = True
                said = event.traceback or f"{event.name}: {event.message}"
                self._error.add(said.encode("utf-8", "replace"))
            case RichResult():
                await self._show(dict(event.data))

    def all(self, end: RunEnd, saved_by_code: list[str], hint: str) -> RanPython:
        return RanPython(
            end=run_in_words(end, failed=self._failed) + hint,
            output=self._output.text(_left_out),
            error=self._error.text(lambda missing, _: f"{missing} bytes of the traceback are left out"),
            files=self._saved + saved_by_code,
        )

    async def _show(self, data: dict[str, bytes]) -> None:
        image = next((kind for kind in _IMAGES if kind in data), None)
        text = next((data[kind] for kind in _TEXTS if kind in data), None)
        if image is not None:
            self._line(await self._image(image, data[image]))
        elif text is not None:
            self._line(text.decode("utf-8", "replace"))
        else:
            self._line("".join(f"[{kind}, {len(content)} bytes]" for kind, content in data.items()))

    async def _image(self, kind: str, content: bytes) -> str:
        """Put an image where the employee can find it; what keeps it from there is no failure of the code."""
        if self._saves:
            return "[an image; the code saves one itself]"
        if self._images >= MAX_IMAGES:
            return f"[an image that was not saved: at most {MAX_IMAGES} of one run are]"
        self._images += 1
        number = "" if self._images == 1 else f"-{self._images}"
        path = f"{CHARTS}/{self._run_id}{number}.{_IMAGES[kind]}"
        try:
            await self._files.write(path, content, parents=True)
        except WorkstationError as error:
            return f"[an image that could not be saved: {error}]"
        self._saved.append(path)
        return f"[an image, saved as {path}]"

    def _line(self, text: str) -> None:
        """A line of its own, whatever was printed before."""
        self._write(("" if self._ends_line else "\n") + text.rstrip("\n") + "\n")

    def _write(self, text: str) -> None:
        if text:
            self._ends_line = text.endswith("\n")
            self._output.add(text.encode("utf-8", "replace"))


def _left_out(missing: int, _: int) -> str:
    return f"{missing} bytes are left out here; print less, or write it into a file and read that"
