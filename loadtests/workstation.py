"""The local workstation: its files, its sandbox and its Python sessions, each beside what it could not be faster than."""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests import files, sandbox, sessions
from loadtests.database import temporary_home
from loadtests.report import Figure
from workstation.errors import SandboxUnavailable

OWNER = 1_900_000_000
"""The account that jailed programs have outside, when we are root."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How often what is compared takes turns: small reads, paced programs, transfers and bursts, runs in a session."""

    reads: int
    programs: int
    transfers: int
    runs: int
    openings: int


FULL = Lengths(reads=5000, programs=150, transfers=7, runs=1000, openings=20)
QUICK = Lengths(reads=200, programs=5, transfers=1, runs=50, openings=2)


async def measure(lengths: Lengths) -> list[Figure]:
    """The figures; a sandbox that cannot be had is a row that says why."""
    with _workspace() as directory:
        return [
            *await files.measure(directory, lengths.reads, lengths.transfers),
            *await _if_available("sandbox", lambda: sandbox.measure(directory, lengths.programs, lengths.transfers)),
            *await _if_available("session", lambda: sessions.measure(directory, lengths.runs, lengths.openings)),
        ]


async def _if_available(what: str, measuring: Callable[[], Awaitable[list[Figure]]]) -> list[Figure]:
    try:
        return await measuring()
    except SandboxUnavailable as error:
        return [Figure(f"{what}: {error}", None, "")]


@contextmanager
def _workspace() -> Iterator[Path]:
    with temporary_home() as home:
        directory = home / "workspace"
        directory.mkdir(0o700)
        if os.geteuid() == 0:
            os.chown(directory, OWNER, OWNER)
        yield directory
