"""The peer of snapshots, playwright-mcp, as its users run it; and a tokenizer that counts for both sides."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from loadtests.children import Child, PeerFailed, running
from loadtests.report import RESULTS

_PINNED = Path(__file__).parent / "browser_peers"
_INSTALLED = RESULTS / "browser-peers"
_INSTALL_SECONDS = 180.0
_QUIETLY = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
_PROTOCOL = "2025-06-18"


async def installed_peers() -> Path:
    """The directory in which npm has put what `browser_peers/package-lock.json` pins; raises `PeerFailed`."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise PeerFailed(f"there is no {program}")
    pinned = (_PINNED / "package-lock.json").read_bytes()
    mark = _INSTALLED / "installed.json"
    if not mark.exists() or mark.read_bytes() != pinned:
        shutil.copytree(_PINNED, _INSTALLED, dirs_exist_ok=True)
        await _run("npm", "ci", *_QUIETLY, directory=_INSTALLED)
        mark.write_bytes(pinned)
    shutil.copy(_PINNED / "count.mjs", _INSTALLED)
    return _INSTALLED


async def count_tokens(peers: Path, texts: Sequence[str]) -> list[int]:
    """How many tokens of o200k_base each text has."""
    counts: list[int] = json.loads(await _run("node", "count.mjs", directory=peers, given=json.dumps(texts).encode()))
    return counts


class PlaywrightMcp:
    """A session with playwright-mcp."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._number = 0

    async def introduce(self) -> None:
        """Begin the session."""
        client = {"name": "empla-bench", "version": "1"}
        await self._ask("initialize", {"protocolVersion": _PROTOCOL, "capabilities": {}, "clientInfo": client})
        self._child.tell({"jsonrpc": "2.0", "method": "notifications/initialized", "params": {}})

    async def call(self, tool: str, **arguments: object) -> str:
        """The text that a tool answers; raises `PeerFailed`."""
        result = await self._ask("tools/call", {"name": tool, "arguments": arguments})
        text = "".join(part.get("text", "") for part in result["content"])
        if result.get("isError"):
            raise PeerFailed(f"playwright-mcp, {tool}: {text}")
        return text

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        answer = await self._child.ask({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        while answer.get("id") != self._number:  # it also says what nobody asked for
            answer = await self._child.hear()
        result: dict[str, Any] = answer["result"]
        return result


@asynccontextmanager
async def playwright_mcp(peers: Path, executable: Path, directory: Path) -> AsyncIterator[PlaywrightMcp]:
    """playwright-mcp with this Chromium and a profile in memory; `directory` takes the files that it writes."""
    program = peers / "node_modules/@playwright/mcp/cli.js"
    chromium = ("--headless", "--isolated", "--no-sandbox", "--executable-path", executable)
    async with running(
        "playwright-mcp", "node", program, *chromium, "--output-dir", directory, directory=directory
    ) as child:
        session = PlaywrightMcp(child)
        await session.introduce()
        yield session


async def _run(*argv: str, directory: Path, given: bytes = b"") -> bytes:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=directory)
    try:
        async with asyncio.timeout(_INSTALL_SECONDS):
            output, errors = await process.communicate(given)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise PeerFailed(f"{argv[0]} did not end within {_INSTALL_SECONDS:g} s") from None
    if process.returncode:
        said = " ".join(errors.decode(errors="replace").split())
        raise PeerFailed(f"{' '.join(argv[:2])} fails: {said[:200]}")
    return output
