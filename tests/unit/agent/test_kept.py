"""Read once, and anew after a change, whatever is being read meanwhile."""

import asyncio

from agent.kept import Kept


async def test_it_is_read_once_until_it_may_have_changed():
    answers = iter("abc")

    async def read(_: object) -> str:
        return next(answers)

    kept = Kept(read)
    assert [await kept.get(), await kept.get()] == ["a", "a"]
    kept.reread()
    assert await kept.get() == "b"


async def test_what_was_being_read_when_it_changed_is_not_kept():
    table, begun, go_on = ["old"], asyncio.Event(), asyncio.Event()

    async def read(_: object) -> str:
        found = table[0]
        begun.set()
        await go_on.wait()
        return found

    kept = Kept(read)
    reading = asyncio.create_task(kept.get())
    await begun.wait()
    table[0] = "new"
    kept.reread()
    go_on.set()
    assert await reading == "old"
    assert await kept.get() == "new"
