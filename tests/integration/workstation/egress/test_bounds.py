import array
import asyncio
import os
import resource
import shutil
import socket
import sys
import textwrap
from contextlib import suppress

import pytest

from tests.integration.workstation.egress.conftest import OK, get, tunnel
from workstation.egress import EgressLimits, EgressProxy

NAMESPACES = shutil.which("unshare") and shutil.which("ip") and os.geteuid() == 0


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


async def test_two_hundred_requests_at_once_are_all_answered_and_leave_nothing_open(gate, serve) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(OK)

    site = await serve(handler)
    opened = await gate(site.rule)
    assert (await opened.ask(get(site.port))).endswith(b"hi")
    before = descriptors()

    async def ask(number: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(get(site.port, f"/{number}"))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    answers = await asyncio.gather(*map(ask, range(200)))
    assert all(answer.endswith(b"hi") for answer in answers)
    assert {head.split()[1] for head in site.heads} == {b"/", *(b"/%d" % number for number in range(200))}
    assert opened.door.requests == 201
    async with asyncio.timeout(20):
        while descriptors() > before:
            await asyncio.sleep(0.05)


async def test_every_way_to_end_gives_its_descriptors_back(gate, serve) -> None:
    async def cut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")

    async def waits(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    ok, broken, silent = await serve(), await serve(cut), await serve(waits)
    rules = [site.rule for site in (ok, broken, silent)]
    opened = await gate(
        *rules, limits=EgressLimits(head_seconds=0.1, answer_seconds=0.1, idle_seconds=0.1, tunnel_idle_seconds=0.1)
    )
    requests = [get(ok.port), get(broken.port), get(silent.port), get(1), b"\0", tunnel("site.test", silent.port), b"G"]

    async def once(request: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        with suppress(ConnectionError):  # some are cut, as they are to be
            writer.write(request)
            await reader.read()
            writer.close()
            await writer.wait_closed()

    await asyncio.gather(*map(once, requests))
    before = descriptors()
    await asyncio.gather(*map(once, requests * 10))
    async with asyncio.timeout(20):
        while descriptors() > before:
            await asyncio.sleep(0.05)


async def test_a_client_over_the_number_of_connections_waits_its_turn(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule, limits=EgressLimits(connections=2))
    first, second, third = [await opened.connect() for _ in range(3)]
    for client in (first, second):
        await client.send(get(site.port, close=False))
        assert await client.answer() == (200, b"hi")
    await third.send(get(site.port, close=False))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await third.answer()
    first.writer.close()
    await third.send(get(site.port))
    assert (await third.rest()).count(b"200 OK") >= 1


async def test_readers_that_do_not_read_an_endless_body_cost_little_memory(gate, serve) -> None:
    given = 0

    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal given
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            given += 65_536

    site = await serve(endless)
    opened = await gate(site.rule)
    before, clients = resident(), []
    for number in range(64):
        client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", opened.port))
        client.send(tunnel("site.test", site.port) + b"GET / HTTP/1.1\r\n\r\n" if number % 2 else get(site.port))
        clients.append(client)
    async with asyncio.timeout(60):
        last = -1
        while site.connections < 64 or given != last:
            last = given
            await asyncio.sleep(0.5)
    assert resident() - before < 64 << 20
    for client in clients:
        client.close()


async def test_a_door_has_its_share_of_bytes_and_no_more(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule, limits=EgressLimits(door_bytes=4))
    for _ in range(2):
        assert (await opened.ask(get(site.port))).endswith(b"hi")
    answer = await opened.ask(get(site.port))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"X-Empla-Egress: limited" in answer
    assert (opened.door.bytes_up, opened.door.bytes_down, opened.door.requests) == (0, 4, 3)


async def test_closing_a_door_ends_its_connections_and_no_others(gate, serve) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await reader.read()

    site, quick = await serve(handler), await serve()
    opened = await gate(site.rule, quick.rule)
    client = await opened.connect()
    await client.send(get(site.port))
    await client.head()
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]
    door = opened.proxy.open_door(other, client="another")
    await opened.door.close()
    assert not await client.closed()
    assert (await opened.record()).outcome == "failed"
    with pytest.raises(ConnectionRefusedError):
        await opened.connect()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(get(quick.port))
    assert (await reader.read()).endswith(b"hi")
    writer.close()
    await writer.wait_closed()
    await door.close()
    await door.close()


async def test_a_proxy_that_is_left_closes_its_doors(serve) -> None:
    site = await serve()
    before = descriptors()
    async with EgressProxy() as proxy:
        for _ in range(5):
            listener = socket.create_server(("127.0.0.1", 0))
            proxy.open_door(listener, client="tests")
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        await proxy.open_door(socket.create_server(("127.0.0.1", 0)), client="closed at once").close()
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    assert listener.fileno() < 0
    assert site.connections == 0
    assert descriptors() <= before + 1  # the loop may not have closed the client's end yet


@pytest.mark.skipif(not NAMESPACES, reason="making a network namespace takes root, unshare and ip")
async def test_a_listener_of_another_network_namespace_is_a_door(gate, serve) -> None:
    """Its program sees a proxy on its own loopback, and nothing else of the network."""
    site = await serve()
    opened = await gate(site.rule)
    ours, theirs = socket.socketpair()
    program = textwrap.dedent("""
        import array, socket, sys
        listener = socket.create_server(("127.0.0.1", 3128))
        with socket.socket(fileno=int(sys.argv[1])) as outside:
            outside.sendmsg([b"door"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener.fileno()]))])
        listener.close()
        try:
            socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=5)
        except ConnectionRefusedError:
            print("no way around it")
        with socket.create_connection(("127.0.0.1", 3128), timeout=20) as proxy:
            proxy.sendall(sys.stdin.buffer.read())
            while data := proxy.recv(65536):
                print(data.decode())
    """)
    command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-c", program]
    process = await asyncio.create_subprocess_exec(
        *command,
        *(str(theirs.fileno()), str(site.port)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    with ours:
        ours.setblocking(False)
        size = array.array("i").itemsize
        async with asyncio.timeout(20):
            while True:
                try:
                    _, ancillary, *_ = ours.recvmsg(16, socket.CMSG_SPACE(size))
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.01)
    ((_, _, rights),) = ancillary
    listener = socket.socket(fileno=array.array("i", rights)[0])
    async with opened.proxy.open_door(listener, client="jailed"):
        output, _ = await process.communicate(get(site.port))
    assert b"no way around it" in output
    assert output.rstrip().endswith(b"hi")
    assert (await opened.record()).client == "jailed"
