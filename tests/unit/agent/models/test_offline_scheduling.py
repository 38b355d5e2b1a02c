"""What the offline model takes for a wish to have something done later, and what it does about it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import JsonValue

from agent.models.offline.classify import classify
from agent.models.offline.scheduling import later
from tests.unit.agent.models.office import ALL_TOOLS, Office

NOW = "2027-05-02T21:30:00+00:00"


@dataclass
class Diary(Office):
    """An office that keeps schedules."""

    tools: Any = (*ALL_TOOLS, "create_schedule", "list_schedules", "cancel_schedule")
    kept: dict[str, Mapping[str, JsonValue]] = field(default_factory=dict)

    def _create_schedule(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        if arguments.get("every_seconds", 60) == 30:
            raise LookupError("IMPOSSIBLE_SCHEDULE: every: '30' is no interval from 60 s")
        self.kept[str(arguments["name"])] = arguments
        zone = arguments.get("time_zone", "UTC")
        return {"name": arguments["name"], "next_run_at": "2027-05-03T09:00:00+00:00", "time_zone": zone}

    def _list_schedules(self, _: Mapping[str, JsonValue]) -> JsonValue:
        row: dict[str, JsonValue] = {
            "kind": "cron",
            "expression": "0 9 * * 1",
            "time_zone": "UTC",
            "state": "active",
            "next_run_at": "soon",
        }
        return {"now": NOW, "schedules": [row | {"name": name} for name in self.kept]}

    def _cancel_schedule(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        if arguments["name"] not in self.kept:
            raise LookupError("NO_SUCH_SCHEDULE: nothing is scheduled here as that")
        del self.kept[str(arguments["name"])]
        return {"name": arguments["name"]}


@pytest.mark.parametrize(
    ("message", "instruction", "arguments"),
    [
        ("Every Monday at nine, what is 2 + 3?", "what is 2 + 3?", {"cron": "0 9 * * 1"}),
        ("please every weekday at 8:30am Europe/Berlin: Summarise notes.md", "Summarise notes.md",
         {"cron": "30 8 * * 1-5", "time_zone": "Europe/Berlin"}),
        ("every day at noon count the open deals", "count the open deals", {"cron": "0 12 * * *"}),
        ("Every Sunday at 11 pm, tell me how many files there are", "tell me how many files there are",
         {"cron": "0 23 * * 0"}),
        ("every 10 minutes tell me how many open deals notes.md lists.", "tell me how many open deals notes.md lists.",
         {"every_seconds": 600}),
        ("Every two hours, please check deals.csv", "check deals.csv", {"every_seconds": 7200}),
        ("Every hour, list the files and write them to files.md", "list the files and write them to files.md",
         {"every_seconds": 3600}),
        ("In 5 minutes, what is 1 + 1?", "what is 1 + 1?", {"at": "2027-05-02T21:35:00+00:00"}),
        ("Tomorrow at 15:00, summarise notes.md", "summarise notes.md", {"at": "2027-05-03T15:00"}),
        # There, tomorrow is the day after.
        ("tomorrow at 15:00 Asia/Tokyo, summarise notes.md", "summarise notes.md",
         {"at": "2027-05-04T15:00", "time_zone": "Asia/Tokyo"}),
        ("On 2027-12-24 at 9, say merry christmas", "say merry christmas", {"at": "2027-12-24T09:00"}),
        ("Remind me tomorrow at 9 to call Acme", "Reminder: to call Acme", {"at": "2027-05-03T09:00"}),
        ("Remind me every Friday at 16:00 that the week ends", "Reminder: that the week ends", {"cron": "0 16 * * 5"}),
    ],
)  # fmt: skip
def test_what_is_asked_for_later_is_scheduled(message: str, instruction: str, arguments: dict[str, Any]) -> None:
    diary = Diary({"notes.md": "- Acme: open"})
    reply = asyncio.run(diary.ask(message))
    [kept] = diary.kept.values()
    assert {key: value for key, value in kept.items() if key not in ("name", "instruction")} == arguments
    assert kept["instruction"] == instruction
    assert "2027-05-03 09:00" in reply.text
    assert set(reply.names()) <= {"create_schedule", "list_schedules"}
    [intent] = classify(message).intents
    assert (intent.start, intent.end, intent.category) == (0, len(message), "scheduling")


@pytest.mark.parametrize(
    "message",
    [
        "Every Monday at nine we have a standup.",
        "Every Monday at nine, the team meets.",
        "Tomorrow at 15:00 the contract ends.",
        "In 5 minutes the call begins.",
        "Every deal in notes.md is open, is that right?",
        "In notes.md, how many deals are open?",
        "Every Monday at 99, what is 1 + 1?",
        "What happens every Monday at nine?",
        "Remember that every Monday at nine we meet.",
    ],
)
def test_what_only_speaks_of_times_is_not(message: str) -> None:
    assert later(message) is None


def test_what_cannot_be_is_told() -> None:
    diary = Diary()
    told = asyncio.run(diary.ask("Every 30 seconds, what is 1 + 1?")).text
    assert ("60 s" in told, "IMPOSSIBLE_SCHEDULE" in told) == (True, False)
    assert "no time zone" in asyncio.run(diary.ask("Tomorrow at 9 Mars/Olympus, what is 1 + 1?")).text
    assert diary.kept == {}


def test_they_are_listed_and_cancelled() -> None:
    diary = Diary()
    assert "Nothing is scheduled" in asyncio.run(diary.ask("What is scheduled?")).text
    told = asyncio.run(diary.ask("Every Monday at nine, what is 2 + 3?")).text
    name = next(iter(diary.kept))
    assert f"cancel the schedule {name}" in told
    assert name in asyncio.run(diary.ask("List my schedules")).text
    failed = asyncio.run(diary.ask("Cancel the schedule another")).text
    assert failed == "That did not work: nothing is scheduled here as that."
    assert asyncio.run(diary.ask(f"Cancel the schedule {name}.")).text == f"I cancelled “{name}”."
    assert diary.kept == {}


def test_a_reminder_is_said() -> None:
    assert asyncio.run(Diary().ask("Reminder: to call Acme")).text == "This is your reminder to call Acme."


def test_without_the_tool_it_says_what_it_can_do() -> None:
    assert "create_schedule" not in asyncio.run(Office().ask("Every Monday at nine, what is 2 + 3?")).names()
