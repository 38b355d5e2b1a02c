"""The Python session, as a model uses it."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from agent.capabilities import compute_actions, python_session
from agent.capabilities.base import RecordedEffect
from agent.errors import ActionFailed, ArgumentsInvalid, EffectAmbiguous
from tests.unit.agent.capabilities.conftest import Caller, Effects, fresh_key

PIXEL = (
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000"
    "000a49444154789c63000100000500010d0a2db40000000049454e44ae426082"
)
FIGURE = f"""
class Figure:
    def _repr_png_(self):
        return bytes.fromhex("{PIXEL}")
    def savefig(self, path):
        open(path, "wb").write(self._repr_png_())
figure = Figure()
"""


async def test_variables_live_on_and_the_last_value_is_shown(run: Caller):
    number = random.randrange(10_000)
    first = await run("run_python", code=f"kept = {number}")
    assert (first["output"], first["error"], first["files"]) == ("", "", [])
    assert first["end"].startswith("done after")
    assert (await run("run_python", code="print('it is', kept)\nkept + 1"))[
        "output"
    ] == f"it is {number}\n{number + 1}\n"


async def test_the_workspace_is_the_working_directory(run: Caller, workspace: Path):
    (workspace / "sales.csv").write_text("region,amount\nnorth,3\nsouth,4\n")
    code = "import csv\nrows = list(csv.DictReader(open('sales.csv')))\nsum(int(row['amount']) for row in rows)"
    assert (await run("run_python", code=code))["output"] == "7\n"


async def test_an_exception_is_told_with_its_line_and_the_state_stays(run: Caller):
    ran = await run("run_python", code="kept = 1\nprint('before')\nkept / 0")
    assert ran["end"].startswith("raised an exception")
    assert ran["output"] == "before\n"
    assert "ZeroDivisionError" in ran["error"]
    assert "line 3" in ran["error"]
    assert (await run("run_python", code="kept"))["output"] == "1\n"


async def test_an_image_that_is_shown_is_saved_in_the_workspace(run: Caller, workspace: Path):
    ran = await run("run_python", code=FIGURE + "figure")
    [path] = ran["files"]
    assert path.startswith("charts/")
    assert path.endswith(".png")
    assert (workspace / path).read_bytes() == bytes.fromhex(PIXEL)
    assert f"saved as {path}" in ran["output"]


async def test_an_image_that_the_code_saves_is_not_saved_twice(run: Caller, workspace: Path):
    ran = await run("run_python", code=FIGURE + "figure.savefig('mine.png')\nfigure")
    assert ran["files"] == ["mine.png"]
    assert not (workspace / "charts").exists()
    assert (workspace / "mine.png").exists()


async def test_an_image_that_the_code_names_and_does_not_save_is_not_named(run: Caller, workspace: Path):
    (workspace / "old.png").write_bytes(b"old")
    code = "figure.savefig('old.png')\nfigure.savefig('../outside.png')\nfigure.savefig('new.png')"
    ran = await run("run_python", code="if False:\n    " + code.replace("\n", "\n    "))
    assert ran["files"] == []


async def test_long_output_is_cut_in_the_middle(run: Caller):
    ran = await run("run_python", code="for number in range(100_000): print(number)")
    assert ran["output"].startswith("0\n1\n")
    assert ran["output"].endswith("99998\n99999\n")
    assert "left out here; print less" in ran["output"]
    assert len(ran["output"]) < 17_000


async def test_what_takes_too_long_is_interrupted_and_the_state_stays(run: Caller):
    ran = await run("run_python", code="kept = 5\nwhile True: pass", timeout=0.5)
    assert ran["end"].startswith("timed out and was stopped")
    assert "KeyboardInterrupt" in ran["error"]
    assert (await run("run_python", code="kept"))["output"] == "5\n"


async def test_a_session_that_died_says_so_and_the_next_run_starts_afresh(run: Caller):
    ran = await run("run_python", code="kept = 5\nimport os\nos._exit(3)")
    assert "the next run starts afresh" in ran["end"]
    ran = await run("run_python", code="print('new')\nkept")
    assert (ran["output"], "NameError" in ran["error"]) == ("new\n", True)


async def test_python_can_be_restarted(run: Caller):
    await run("run_python", code="kept = 5")
    await run("restart_python")
    assert "NameError" in (await run("run_python", code="kept"))["error"]


async def test_one_run_waits_for_the_other(run: Caller):
    slow = asyncio.ensure_future(run("run_python", code="import time\ntime.sleep(0.5)\nkept = 'slow'"))
    await asyncio.sleep(0.1)
    assert (await run("run_python", code="kept"))["output"] == "'slow'\n"
    await slow


async def test_runs_of_many_messages_are_made_in_the_order_they_came(run: Caller):
    await run("run_python", code="import time\norder = []")
    slow = [f"order.append({number})\ntime.sleep(0.2)" for number in range(5)]
    await asyncio.gather(*(run("run_python", code=code) for code in [*slow, "order.append('small')"]))
    assert (await run("run_python", code="order"))["output"] == "[0, 1, 2, 3, 4, 'small']\n"


async def test_the_longest_wait_and_the_longest_run_fit_into_a_call(run: Caller):
    [deadline] = [action.deadline for action in run.capability.actions if action.name == "run_python"]
    longest = compute_actions.FOREGROUND_SECONDS
    assert longest < python_session.LINE_SECONDS < deadline < 300


async def test_a_run_that_waits_too_long_says_that_it_was_not_made(run: Caller, monkeypatch: pytest.MonkeyPatch):
    await run("run_python", code="times = 0")
    monkeypatch.setattr(python_session, "LINE_SECONDS", 10.2)
    slow = asyncio.ensure_future(run("run_python", code="import time\ntime.sleep(1.5)"))
    await asyncio.sleep(0.1)
    with pytest.raises(ActionFailed, match="was not run and nothing was changed"):
        await run("run_python", code="times += 1", timeout=10)
    await slow
    assert (await run("run_python", code="times"))["output"] == "0\n"


async def test_a_call_that_was_given_up_in_line_is_made_when_it_is_made_again(run: Caller):
    key, code = fresh_key(), "times += 1\ntimes"
    await run("run_python", code="times = 0")
    slow = asyncio.ensure_future(run("run_python", code="import time\ntime.sleep(1)"))
    await asyncio.sleep(0.1)
    call = asyncio.ensure_future(run("run_python", key=key, code=code))
    await asyncio.sleep(0.1)
    call.cancel()
    await asyncio.wait([call, slow])
    ran = await run("run_python", key=key, effects=Effects(RecordedEffect("intended")), code=code)
    assert ran["output"] == "1\n"


async def test_a_session_that_still_ends_a_run_is_waited_for(run: Caller):
    stubborn = "import time\ntry:\n    time.sleep(20)\nexcept KeyboardInterrupt:\n    time.sleep(0.7)\nkept = 'ended'"
    await run("run_python", code="kept = 0")
    call = asyncio.ensure_future(run("run_python", code=stubborn))
    await asyncio.sleep(0.5)
    call.cancel()
    await asyncio.wait([call])
    assert (await run("run_python", code="kept"))["output"] == "'ended'\n"


async def test_a_run_that_was_cut_short_is_not_made_again(run: Caller):
    key, code = fresh_key(), "times += 1\nwhile True: pass"
    await run("run_python", code="times = 0")
    call = asyncio.ensure_future(run("run_python", key=key, code=code))
    await asyncio.sleep(0.5)
    call.cancel()
    await asyncio.wait([call])
    ran = await run("run_python", key=key, effects=Effects(RecordedEffect("intended")), code=code)
    assert ran["end"].startswith("was stopped")
    assert (await run("run_python", code="times"))["output"] == "1\n"
    with pytest.raises(EffectAmbiguous):
        await run("run_python", effects=Effects(RecordedEffect("intended")), code=code)


@pytest.mark.parametrize("arguments", [{"code": ""}, {"code": "1", "timeout": 0}, {"code": "x" * 200_001}])
async def test_arguments_have_bounds(run: Caller, arguments: dict[str, Any]):
    with pytest.raises(ArgumentsInvalid):
        await run("run_python", **arguments)
