"""Programs of the system end in time and say why they failed."""

import time

import pytest

from controlplane.errors import LaunchFailed
from controlplane.launchers.commands import MAX_MESSAGE, run


async def test_a_program_that_succeeds_says_nothing():
    await run("true", seconds=10)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("ls", "/missing"), r"ls ended with 2: ls: cannot access '/missing': No such file or directory"),
        (("sh", "-c", "echo one >&2; echo two >&2; exit 7"), "sh ended with 7: one two"),
        (("sh", "-c", "kill -9 $$"), "sh ended with -9"),
        (("no-such-program",), "no-such-program does not run"),
    ],
)
async def test_a_program_that_fails_is_told_in_one_line(command: tuple[str, ...], message: str):
    with pytest.raises(LaunchFailed, match=message) as caught:
        await run(*command, seconds=10)
    assert "\n" not in str(caught.value)


async def test_a_program_that_takes_too_long_is_killed():
    before = time.monotonic()
    with pytest.raises(LaunchFailed, match=r"sleep was not done after 0\.2 s"):
        await run("sleep", "60", seconds=0.2)
    assert time.monotonic() - before < 10


async def test_of_many_complaints_the_first_are_kept():
    with pytest.raises(LaunchFailed) as caught:
        await run("sh", "-c", "yes complaint | head -c 5000000 >&2; exit 1", seconds=20)
    assert len(str(caught.value)) < MAX_MESSAGE + 100


async def test_nothing_of_our_environment_is_passed_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", "secret")
    await run("sh", "-c", 'test -z "$SECRET"', seconds=10)
