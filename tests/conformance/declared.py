"""Cases that need something a workstation may lack: then it must say so beforehand, and refuse."""

from collections.abc import Awaitable, Callable
from functools import wraps

import pytest

from tests.conformance.programs import fresh_id
from workstation.errors import Unsupported
from workstation.interface import Compute, ExecSpec, SessionSpec, Terminal

type Case = Callable[..., Awaitable[None]]


def needs_terminal[T: type](cases: T) -> T:
    """Of each case of the class, where no terminal is declared: asking for one is refused."""

    async def refuses(compute: Compute) -> None:
        with pytest.raises(Unsupported):
            await compute.start(fresh_id(), ExecSpec(argv=("true",), terminal=Terminal()))

    return _each(cases, "terminal", refuses)


def needs_sessions[T: type](cases: T) -> T:
    """Of each case of the class, where no sessions are declared: opening one is refused."""

    async def refuses(compute: Compute) -> None:
        with pytest.raises(Unsupported):
            await compute.open_session(fresh_id(), SessionSpec())

    return _each(cases, "sessions", refuses)


def _each[T: type](cases: T, capability: str, refuses: Callable[[Compute], Awaitable[None]]) -> T:
    for name, case in list(vars(cases).items()):
        if name.startswith("test_"):
            setattr(cases, name, _either(case, capability, refuses))
    return cases


def _either(case: Case, capability: str, refuses: Callable[[Compute], Awaitable[None]]) -> Case:
    @wraps(case)
    async def either(self: object, compute: Compute, **fixtures: object) -> None:
        if getattr(await compute.capabilities(), capability):
            await case(self, compute=compute, **fixtures)
        else:
            await refuses(compute)

    return either
