"""`python -m workstation.local.jail`: build one jail, say `ok`, or say what is missing and how to get it (exit code 1)."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from workstation.errors import SandboxUnavailable
from workstation.local.jail.cgroups import GroupLimits
from workstation.local.jail.configuration import JailPlan
from workstation.local.jail.jail import JailBuilder

_NOBODY = 65534


async def _check() -> None:
    with tempfile.TemporaryDirectory(prefix="empla-check-") as directory:
        if os.geteuid() == 0:
            os.chown(directory, _NOBODY, _NOBODY)
        async with JailBuilder(JailPlan(Path(directory)), GroupLimits(256 << 20, 16, 1.0)) as builder:
            await (await builder.build()).destroy()


def main() -> int:
    """Returns the exit code."""
    try:
        asyncio.run(_check())
    except SandboxUnavailable as error:
        print(error)
        return 1
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
