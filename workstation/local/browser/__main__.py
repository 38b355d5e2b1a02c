"""`python -m workstation.local.browser`: start Chromium in its jail, say its version, or what is missing (exit code 1)."""

import asyncio
import sys

from workstation.errors import SandboxUnavailable
from workstation.local.browser.engine import Engine


async def _check() -> str:
    async with Engine(None) as engine:
        return (await engine.chromium()).version


def main() -> int:
    """Returns the exit code."""
    try:
        print(asyncio.run(_check()))
    except SandboxUnavailable as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
