"""Sessions of Python that are about to end."""

from pathlib import Path

import pytest

from tests.conformance.programs import fresh_id
from workstation.errors import SessionLost
from workstation.interface import SessionSpec
from workstation.local.compute import LocalCompute


async def test_one_that_is_being_closed_takes_no_run(jailable_workspace: Path):
    async with LocalCompute(jailable_workspace) as compute:
        session = await compute.open_session(fresh_id(), SessionSpec())
        # As its keeper does when nobody has used it for long.
        compute._sessions._sessions[session.session_id].close("was closed after 1 s without a run")
        with pytest.raises(SessionLost, match="without a run"):
            await anext(compute.run_in_session(session.session_id, fresh_id(), "1"))
        again = await compute.open_session(session.session_id, SessionSpec())
        events = [event async for event in compute.run_in_session(again.session_id, fresh_id(), "1 + 1")]
        assert events
