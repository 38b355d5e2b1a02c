"""What a message asks to be done later, or again and again: "every Monday at nine, …", "in 10 minutes, …"."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import JsonValue

from agent.models.offline import wording
from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.replies import closed, did_not_work
from agent.models.offline.words import NUMBER_WORDS

_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_NUMBER = rf"\d{{1,4}}|{'|'.join(NUMBER_WORDS)}"
_TIME = (
    rf"(?:noon|midnight|(?P<hour>\d{{1,2}}|{'|'.join(NUMBER_WORDS)})(?::(?P<minute>\d\d))?(?:\s?(?P<half>am|pm))?"
    r"(?: o['’]clock)?)"
    r"(?: (?P<zone>UTC|[A-Z]\w+(?:/\w+)+))?"
)
_EVERY_SPAN = re.compile(rf"every (?:(?P<count>{_NUMBER}) )?(?P<unit>{'|'.join(_UNITS)})s?\b", re.IGNORECASE)
_EVERY_DAY = re.compile(rf"every (?P<day>{'|'.join(_DAYS)}|day|weekday) at {_TIME}\b", re.IGNORECASE)
_IN = re.compile(rf"in (?P<count>{_NUMBER}|an?) (?P<unit>{'|'.join(_UNITS)})s?\b", re.IGNORECASE)
_ON = re.compile(rf"(?:(?P<day>today|tomorrow)|on (?P<date>\d{{4}}-\d\d-\d\d)) at {_TIME}\b", re.IGNORECASE)
_REMIND = re.compile(
    r"(?:please )?remind me (?P<when>.{1,80}?) (?P<what>(?:to|that|of|about) .+)", re.IGNORECASE | re.DOTALL
)
_TASK = re.compile(
    r"(?:say|send|write|append|add|summari[sz]e|check|read|remind|look|draft|open|update|report|note|search|run|draw)\b",
    re.IGNORECASE,
)
"""Verbs with which something to do begins, besides those of questions; a statement about times asks for nothing."""
_REMINDER = re.compile(r"Reminder: (?P<what>.+)", re.DOTALL)
_LIST = re.compile(
    r"(?:(?:list|show)(?: me)? (?:(?:the|my|your|all) )*schedules|what(?: is|['’]s) scheduled(?: here)?|"
    r"what schedules (?:are there|do (?:you|i) have))\W*",
    re.IGNORECASE,
)
_CANCEL = re.compile(
    r"(?:please )?(?:cancel|end|delete|stop) (?:the |my )?schedule [\"“']?(?P<name>.+?)[\"”']?[.!]?", re.IGNORECASE
)
_MOST_CHARACTERS = 4_000
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Later:
    """What to do; and when: by the arguments of `create_schedule`, or so many seconds from now, or on a day at a time."""

    instruction: str
    said: str
    arguments: dict[str, JsonValue]
    seconds: int = 0
    days: int | None = None
    time: str = ""


def later(message: str) -> Later | None:
    """What `message` asks to be done later, None when it is nothing of the kind."""
    text = wording.LEAD.sub("", message.strip()[:_MOST_CHARACTERS])
    if match := _REMIND.fullmatch(text):
        when, task = match["when"], f"Reminder: {match['what']}"
        return found if (found := _when(when, task)) and found.said == when else None
    for pattern in (_EVERY_DAY, _EVERY_SPAN, _IN, _ON):
        if match := pattern.match(text):
            task = wording.LEAD.sub("", text[match.end() :].lstrip(" ,:"))
            return _when(match[0], task) if _TASK.match(task) or wording.ASKING.match(task) else None
    return None


def _when(text: str, task: str) -> Later | None:
    if match := _EVERY_DAY.match(text):
        time = _time(match)
        day = match["day"].lower()
        weekday = {"day": "*", "weekday": "1-5"}.get(day) or str(_DAYS.index(day))
        fields = f"{int(time[3:])} {int(time[:2])} * * {weekday}" if time else ""
        return Later(task, match[0], {"cron": fields, **_zone(match)}) if time else None
    if match := _EVERY_SPAN.match(text):
        return Later(task, match[0], {"every_seconds": _count(match["count"]) * _UNITS[match["unit"].lower()]})
    if match := _IN.match(text):
        return Later(task, match[0], {}, seconds=_count(match["count"]) * _UNITS[match["unit"].lower()])
    if (match := _ON.match(text)) and (time := _time(match)):
        if match["date"]:
            return Later(task, match[0], {"at": f"{match['date']}T{time}", **_zone(match)})
        return Later(task, match[0], _zone(match), days=int(match["day"].lower() == "tomorrow"), time=time)
    return None


def scheduled(message: str, desk: Desk) -> str | None:
    """The answer to a message about schedules, None when it is about none; raises `Wanted` while a result is missing."""
    text = message.strip()
    if match := _REMINDER.fullmatch(text):
        return f"This is your reminder {closed(match['what'])}"
    if not desk.has("create_schedule"):
        return None
    try:
        return _told(text, desk)
    except ToolFailed as error:
        return did_not_work(error)


def _told(text: str, desk: Desk) -> str | None:
    if _LIST.fullmatch(text):
        return _listed(desk)
    if match := _CANCEL.fullmatch(text):
        return f"I cancelled “{desk.use('cancel_schedule', name=match['name'])['name']}”."
    found = later(text)
    return _made(found, desk) if found else None


def _made(found: Later, desk: Desk) -> str:
    arguments = found.arguments | _instant(found, desk)
    name = " ".join(found.instruction.split())[:_LONGEST_NAME].strip(" .?!")
    made = desk.use("create_schedule", name=name, instruction=found.instruction, **arguments)
    first = str(made["next_run_at"]).replace("T", " ")[:16]
    kind = "" if found.said.lower().startswith("every") else "once, "
    return (
        f"I will do that {kind}{found.said[:1].lower()}{found.said[1:]}: {closed(found.instruction)} "
        f"The first time is {first} ({made['time_zone']}). To end it, say “cancel the schedule {name}”."
    )


def _instant(found: Later, desk: Desk) -> dict[str, JsonValue]:
    if not found.seconds and found.days is None:
        return {}
    now = datetime.fromisoformat(str(desk.use("list_schedules")["now"]))
    if found.seconds:
        return {"at": (now + timedelta(seconds=found.seconds)).astimezone(UTC).isoformat(timespec="seconds")}
    try:
        zone = ZoneInfo(str(found.arguments.get("time_zone", "UTC")))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ToolFailed(f"there is no time zone {found.arguments['time_zone']}") from error
    day = now.astimezone(zone).date() + timedelta(days=found.days or 0)
    return {"at": f"{day}T{found.time}"}


def _listed(desk: Desk) -> str:
    found = desk.use("list_schedules").get("schedules")
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    if not rows:
        return "Nothing is scheduled in this conversation."
    lines = (
        f"- {row['name']}: {row['kind']} {row['expression']} ({row['time_zone']}), next {row['next_run_at'] or row['state']}"
        for row in rows
    )
    return "Scheduled in this conversation:\n" + "\n".join(lines)


def _count(text: str | None) -> int:
    written = (text or "one").lower()
    return int(written) if written.isdigit() else NUMBER_WORDS.get(written, 1)


def _time(match: re.Match[str]) -> str:
    """A time of day as hours and minutes, `09:30`; '' when there is no such time."""
    if match["hour"] is None:
        return "12:00" if "noon" in match[0].lower() else "00:00"
    hour, minute, half = _count(match["hour"]), int(match["minute"] or 0), (match["half"] or "").lower()
    hour = hour % 12 + 12 * (half == "pm") if half else hour
    return f"{hour:02}:{minute:02}" if hour < 24 and minute < 60 else ""


def _zone(match: re.Match[str]) -> dict[str, JsonValue]:
    return {"time_zone": match["zone"]} if match["zone"] else {}
