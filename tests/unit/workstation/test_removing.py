"""Trees that need care of the process that removes them: few descriptors, locked directories."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conformance.adversaries import plant_deep


class TestTrees:
    async def test_removing_needs_few_descriptors(self, tmp_path: Path) -> None:
        plant_deep(tmp_path, 1000, "d" * 200)
        script = (
            "import asyncio, resource, sys\n"
            "from workstation.local.files import LocalFileSystem\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
            "async def main():\n"
            "    async with LocalFileSystem(sys.argv[1]) as files:\n"
            "        print(await files.remove('d' * 200, recursive=True))\n"
            "asyncio.run(main())\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[3],
            timeout=60,
        )
        assert ran.stdout == "1009\n", ran.stderr

    async def test_a_locked_tree_is_removed_by_its_owner(self, short_directory: Path) -> None:
        root = short_directory / "root"
        (root / "locked" / "below").mkdir(parents=True)
        (root / "locked" / "below" / "file").touch()
        script = (
            "import asyncio, concurrent.futures.thread, os, sys\n"
            "from workstation.local.files import LocalFileSystem\n"
            "if os.geteuid() == 0:\n"
            "    os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
            "root = os.open(sys.argv[1], os.O_PATH)\n"
            "os.chmod('locked/below', 0, dir_fd=root)\n"
            "os.chmod('locked', 0, dir_fd=root)\n"
            "async def main():\n"
            "    async with LocalFileSystem(sys.argv[1]) as files:\n"
            "        print(await files.remove('locked', recursive=True))\n"
            "asyncio.run(main())\n"
        )
        if os.geteuid() == 0:
            for path in (root, *root.rglob("*")):
                os.chown(path, 65534, 65534)
        ran = subprocess.run(
            [sys.executable, "-c", script, str(root)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[3],
            timeout=60,
        )
        assert ran.stdout == "3\n", ran.stderr
