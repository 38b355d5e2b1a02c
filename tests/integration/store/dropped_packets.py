"""A network of one's own that loses every packet: what becomes of a statement in it, and of a connection without one.

Takes the two addresses of a `Database`, whose socket can be reached from every network.
"""

import asyncio
import fcntl
import os
import socket
import struct
import sys

from empla.store.connect import connect_once, translated
from empla.store.errors import StoreUnavailable
from tests.cable import cabled_over_tcp
from tests.conftest import Database

SIOCSIFFLAGS = 0x8914  # linux/sockios.h
IFF_UP = 0x1
LONG_SECONDS = 600.0


def alone() -> None:
    """Leave the network of this machine for an empty one."""
    os.unshare(os.CLONE_NEWNET if os.geteuid() == 0 else os.CLONE_NEWNET | os.CLONE_NEWUSER)
    switch(IFF_UP)


def switch(flags: int) -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags))


async def lose_everything(database: Database) -> None:
    async with cabled_over_tcp(database.socket) as cable:
        there = database.over(cable)
        async with (
            connect_once(there, application_name="asks", command_timeout=LONG_SECONDS) as asking,
            connect_once(there, application_name="idles", command_timeout=LONG_SECONDS) as idle,
        ):
            switch(0)
            try:
                with translated():
                    await asking.fetchval("SELECT 1")
            except StoreUnavailable:
                print("the statement: unavailable")
            while not idle.is_closed():
                await asyncio.sleep(0.1)
            print("the idle connection: closed")


alone()
asyncio.run(lose_everything(Database(*sys.argv[1:])))
