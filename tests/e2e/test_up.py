"""`empla up` when its surroundings change: a closed terminal, a token file that is none."""

import json
import signal
from pathlib import Path

from tests.e2e.system import System


def test_a_closed_terminal_is_like_ctrl_c_and_a_broken_token_is_refused_in_one_line(short_directory: Path):
    system = System(short_directory)
    system.start()
    token = system.home / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert system.interrupt(signal.SIGHUP) == 0
    assert system.processes() == {}
    log = (system.home / "logs" / "controlplane.log").read_text().splitlines()
    assert [line for line in map(json.loads, log) if line["level"] in ("error", "critical")] == []
    token.write_text("")  # as a crash in the middle of writing it would leave it
    refused = system.run("up", "--no-chat")
    assert refused.returncode == 1
    assert "fewer than 32" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert system.processes() == {}
