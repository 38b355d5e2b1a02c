"""The peer of a Python session: a Jupyter kernel, through its own client, as a notebook uses it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

_SECONDS = 60.0
_OPTIONS = ["--HistoryManager.enabled=False", "--log-level=ERROR"]


class Kernel:
    """A running kernel; what it does holds up everything else."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client

    async def run(self, code: str) -> None:
        """Run code until its result is here and the kernel is idle; raises RuntimeError when there is no result."""
        request = self._client.execute(code)
        results = 0
        while True:
            message = self._client.get_iopub_msg(timeout=_SECONDS)
            if message["parent_header"].get("msg_id") != request:
                continue
            results += message["msg_type"] == "execute_result"
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        self._client.get_shell_msg(timeout=_SECONDS)
        if results != 1:
            raise RuntimeError(f"{code} gave {results} results in the Jupyter kernel")

    def run_first(self, code: str) -> None:
        """Run code in a kernel that is still starting, until its reply; raises RuntimeError when it failed.

        The code waits in the socket, which is the fastest way: `wait_for_ready` adds pauses of its own.
        """
        self._client.execute(code)
        reply = self._client.get_shell_msg(timeout=_SECONDS)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"{code} in the Jupyter kernel: {reply['content']}")


@contextmanager
def ready_kernel(directory: Path) -> Iterator[Kernel]:
    """A kernel that is ready for code, with its files in `directory`."""
    with _started(directory) as client:
        client.wait_for_ready(timeout=_SECONDS)
        yield Kernel(client)


@contextmanager
def fresh_kernel(directory: Path) -> Iterator[Kernel]:
    """A kernel whose process has just been started."""
    with _started(directory) as client:
        yield Kernel(client)


@contextmanager
def _started(directory: Path) -> Iterator[BlockingKernelClient]:
    manager = KernelManager(connection_file=str(directory / "kernel.json"))
    environment = {**os.environ, "IPYTHONDIR": str(directory / "ipython")}
    manager.start_kernel(extra_arguments=_OPTIONS, env=environment, cwd=str(directory))
    client = manager.blocking_client()
    client.start_channels()
    try:
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
