"""Several things at once, as somebody asks for them and as an operator sees what was done."""

from uuid import uuid4

from tests.e2e.system import EMPLOYEE, System


def test_what_is_asked_for_in_parallel_is_done_by_sub_agents_and_shown_below_the_call(system: System):
    name = f"{uuid4().hex}.txt"
    text = f"In parallel: what is 20 + 22?; write hello to {name}"
    message = system.json("send", EMPLOYEE, text)
    assert message["state"] == "answered"
    first, _, second = message["reply"].partition("\n\n")
    assert first.startswith("1. ")
    assert "42" in first
    assert second.startswith("2. ")
    assert (system.workspace() / name).read_text().strip() == "hello"
    [delegate] = message["effects"]
    assert [one["outcome"] for one in delegate["sub_agents"]] == ["answered", "answered"]
    assert [effect["action"] for effect in delegate["sub_agents"][1]["effects"]] == ["write_file"]
    shown = system.run("message", "show", message["message_id"]).stdout
    assert shown.index("agents.delegate") < shown.index("sub-agent 1") < shown.index("workspace.write_file")
