"""A program reaches no network that is not declared, and no memory that others share."""

import ctypes
import os
import socket
from collections.abc import Iterator

import pytest

from tests.conformance.programs import fresh_id, printed, run, run_python
from workstation.interface import Compute, ComputeCapabilities


class TestNetwork:
    @pytest.fixture
    def server(self) -> Iterator[int]:
        """A port of the host's loopback."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            yield int(listening.getsockname()[1])

    async def test_without_a_way_out_it_has_none(self, compute: Compute, capabilities: ComputeCapabilities) -> None:
        source = "import socket; print(*sorted(name for _, name in socket.if_nameindex()))"
        assert not capabilities.network
        assert await printed(compute, source) == "lo\n"

    async def test_the_hosts_ports_are_out_of_reach(self, compute: Compute, server: int) -> None:
        addresses = {"127.0.0.1", socket.gethostname(), "::ffff:127.0.0.1", "0.0.0.0"}
        source = """
            import socket, sys
            for address in sys.argv[2:]:
                try:
                    socket.create_connection((address, int(sys.argv[1])), timeout=2)
                    print("reached", address)
                except OSError:
                    pass
        """
        assert await printed(compute, source, str(server), *addresses) == ""

    async def test_its_own_loopback_works(self, compute: Compute) -> None:
        source = """
            import socket
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname()).close()
            print("connected")
        """
        assert await printed(compute, source) == "connected\n"

    async def test_abstract_sockets_of_the_host_are_out_of_reach(self, compute: Compute) -> None:
        name = f"conformance-{os.getpid()}-{fresh_id()}"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"\0{name}")
            listening.listen()
            ran = await run_python(compute, f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')")
        assert b"ConnectionRefusedError" in ran.stderr
        assert name not in (await run(compute, "cat", "/proc/net/unix")).text

    @pytest.mark.parametrize(
        "arguments",
        [
            "AF_PACKET, SOCK_RAW",
            "AF_INET, SOCK_RAW, 1",
            "40, SOCK_STREAM",
            "AF_ALG, SOCK_SEQPACKET",
            "31, SOCK_RAW, 1",
        ],
        ids=["packet", "raw", "vsock", "alg", "bluetooth"],
    )
    async def test_other_kinds_of_sockets_are_refused(self, compute: Compute, arguments: str) -> None:
        """Those that see what others send, leave the machine without a network (vsock), or drive seldom used kernel code."""
        ran = await run_python(compute, f"from socket import *; socket({arguments}); print('made')")
        assert ran.stdout == b""

    async def test_two_workstations_do_not_meet(self, compute: Compute, neighbour: Compute) -> None:
        source = "import socket; s = socket.create_server(('127.0.0.1', 4321)); print('bound'); s.close()"
        assert await printed(compute, source) == await printed(neighbour, source) == "bound\n"


class TestSharedMemory:
    async def test_segments_of_the_host_are_not_seen(self, compute: Compute) -> None:
        libc, key = ctypes.CDLL(None), os.getpid() | 0x5A000000
        segment = libc.shmget(key, 4096, 0o1666)
        assert segment >= 0
        try:
            source = "import ctypes, sys; print(ctypes.CDLL(None).shmget(int(sys.argv[1]), 0, 0))"
            assert await printed(compute, source, str(key)) == "-1\n"
            assert len((await run(compute, "cat", "/proc/sysvipc/shm")).text.splitlines()) == 1
        finally:
            libc.shmctl(segment, 0, None)

    async def test_scratch_space_is_private_and_fresh(self, compute: Compute) -> None:
        source = """
            import os
            for place in ("/tmp", "/dev/shm"):
                print(os.listdir(place))
                open(f"{place}/left", "w").close()
        """
        assert await printed(compute, source) == await printed(compute, source) == "[]\n[]\n"

    async def test_a_segment_that_is_left_goes_with_the_jail(self, compute: Compute) -> None:
        source = "import ctypes; print(ctypes.CDLL(None).shmget(77, 4096, 0o666 | 0o3000) >= 0)"
        assert await printed(compute, source) == await printed(compute, source) == "True\n"
