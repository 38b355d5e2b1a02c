"""When a schedule runs: at an instant, at a fixed interval, or by a cron expression in a time zone.

Cron expressions are read as Debian's cron reads them. What is to run at a time of day runs once on each day: on a day that
skips this time, as soon as it has passed; on a day that has it twice, the first time. What is to run every so many minutes
or hours (the field of the minute or the hour begins with `*`) follows the clock: nothing runs in the hour that is skipped,
and everything again in the one that comes twice.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

RUN = "empla:schedule"
"""The name in a message's metadata that tells a run of a schedule; nobody else may use it."""
KINDS = ("at", "every", "cron")
CATCH_UP = ("latest", "all", "none")
"""What is done of the runs that were missed; the first is usual."""
MOST_PER_EMPLOYEE = 100
"""Schedules that an employee may have at once."""
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 366 * 86_400
MAX_NAME = 100
MAX_INSTRUCTION = 4_000
"""Characters."""
MAX_EXPRESSION = 200


class ImpossibleSchedule(ValueError):
    """It could never run, or not as it is meant; `field` names what is wrong: at, every, cron, time_zone, or another."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


@dataclass(frozen=True, slots=True)
class At:
    """One instant."""

    moment: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        """The instant, if it is later than `moment`."""
        return self.moment if self.moment > moment else None


@dataclass(frozen=True, slots=True)
class Every:
    """The same number of seconds again and again, counted from `anchor`, which is no run itself."""

    seconds: int
    anchor: datetime

    def next_after(self, moment: datetime) -> datetime:
        """The first run later than `moment`."""
        step = timedelta(seconds=self.seconds)
        return self.anchor + max(1, (moment - self.anchor) // step + 1) * step


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields: minute, hour, day of the month, month, day of the week; by the clocks of `zone`."""

    expression: str
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime | None:
        """The first run later than `moment`, in UTC; None when there is none within 50 years.

        Raises `ImpossibleSchedule` when the expression is none, or names a day that no month has.
        """
        try:
            runs = CronSim(self.expression, moment.astimezone(self.zone))
        except CronSimError as error:
            raise ImpossibleSchedule("cron", f"{self.expression!r} is no cron expression: {error}") from error
        # In the second of two equal hours, the first run that is found may lie in the first.
        return next((run for one in runs if (run := one.astimezone(UTC)) > moment), None)


type Timing = At | Every | Cron


def timing(kind: str, expression: str, time_zone: str = "UTC", *, anchor: datetime) -> Timing:
    """Read a schedule: `at` with an ISO 8601 time, `every` with a number of seconds, `cron` with five fields.

    A time without an offset, and cron, are by the clocks of `time_zone`, an IANA name, which is read from a file when first
    used. `every` counts from `anchor`. Raises `ImpossibleSchedule`.
    """
    zone = zone_named(time_zone)
    if len(expression) > MAX_EXPRESSION:
        raise ImpossibleSchedule(kind, f"{expression[:20]!r}… is over {MAX_EXPRESSION} characters")
    match kind:
        case "at":
            return At(_moment(expression, zone))
        case "every":
            return Every(_seconds(expression), anchor)
        case "cron":
            if len(expression.split()) != 5:
                raise ImpossibleSchedule(
                    "cron", f"{expression!r} must have five fields: minute, hour, day, month, weekday"
                )
            return Cron(expression, zone)
    raise ImpossibleSchedule("kind", f"{kind!r} is none of {', '.join(KINDS)}")


def first_run(timing: Timing, now: datetime) -> datetime:
    """When a schedule that is made now runs first; raises `ImpossibleSchedule` when it never does."""
    run = timing.next_after(now)
    if run is not None:
        return run
    if isinstance(timing, At):
        raise ImpossibleSchedule("at", f"{timing.moment.isoformat()} is past")
    raise ImpossibleSchedule("cron", "no day of the next 50 years fits")


def check_wording(name: str, instruction: str, catch_up: str) -> None:
    """Raise `ImpossibleSchedule` unless that can be kept, and said to an employee."""
    for field, text, most in (("name", name, MAX_NAME), ("instruction", instruction, MAX_INSTRUCTION)):
        if not text.strip():
            raise ImpossibleSchedule(field, f"the {field} is empty")
        if len(text) > most:
            raise ImpossibleSchedule(field, f"the {field} is over {most} characters")
        if "\0" in text or text.encode(errors="replace").decode() != text:
            raise ImpossibleSchedule(field, f"the {field} holds what is no text")
    if instruction.strip().lower() == "/stop":
        raise ImpossibleSchedule("instruction", "the instruction is a command, which only a person gives")
    if catch_up not in CATCH_UP:
        raise ImpossibleSchedule("catch_up", f"{catch_up[:80]!r} is none of {', '.join(CATCH_UP)}")


def zone_named(name: str) -> ZoneInfo:
    """The time zone of that IANA name, read from a file when first used; raises `ImpossibleSchedule`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown, no name at all, or a folder of names
        raise ImpossibleSchedule("time_zone", f"{name[:100]!r} is no time zone; one is named Europe/Berlin") from error


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        written = datetime.fromisoformat(text)
        local = written if written.tzinfo else written.replace(tzinfo=zone)
        moment = local.astimezone(UTC)
        back = moment.astimezone(local.tzinfo)
    except (ValueError, OverflowError) as error:
        raise ImpossibleSchedule("at", f"{text!r} is no time; one is written 2027-03-31T15:00") from error
    if back.replace(fold=0) != local.replace(fold=0):
        raise ImpossibleSchedule("at", f"{text} does not exist in {zone.key}: its clocks are set forward over it")
    return moment


def _seconds(text: str) -> int:
    seconds = int(text) if text.isascii() and text.isdigit() else 0
    if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        raise ImpossibleSchedule(
            "every", f"{text!r} is no interval from {SHORTEST_SECONDS} s to {LONGEST_SECONDS} s (366 days)"
        )
    return seconds
