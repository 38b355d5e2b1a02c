"""The schedules that a profile brings, as they are written in it."""

from collections.abc import Iterator
from datetime import UTC, datetime

from controlplane.profiles.fields import Path, Wrong, field_name
from empla.schedules import (
    CATCH_UP,
    MOST_PER_EMPLOYEE,
    At,
    ImpossibleSchedule,
    Timing,
    check_wording,
    first_run,
    timing,
)
from empla.v1 import control_pb2


def wrong_schedules(profile: control_pb2.Profile) -> Iterator[Wrong]:
    """What of the profile's schedules could not be kept or would never run. It reads files, of time zones."""
    if len(profile.schedules) > MOST_PER_EMPLOYEE:
        yield Wrong(("schedules",), f"schedules are at most {MOST_PER_EMPLOYEE}")
        return
    names = [one.name for one in profile.schedules]
    for i, one in enumerate(profile.schedules):
        if one.name in names[:i]:
            yield _wrong(i, ImpossibleSchedule("name", f"{one.name[:80]!r} stands here for the second time"))
        try:
            check_wording(one.name, one.instruction, one.catch_up or CATCH_UP[0])
            now = datetime.now(UTC)
            when = timing_of(one, now)
            if not isinstance(when, At):  # whose time passes, while the profile stays what it is
                first_run(when, now)
        except ImpossibleSchedule as error:
            yield _wrong(i, error)


def timing_of(written: control_pb2.ProfileSchedule, anchor: datetime) -> Timing:
    """When it runs; raises `ImpossibleSchedule`."""
    said = [(kind, str(value)) for kind, value in _whens(written) if value]
    if len(said) != 1:
        raise ImpossibleSchedule("", "exactly one of at, every_seconds and cron says when it runs")
    return timing(*said[0], written.time_zone or "UTC", anchor=anchor)


def place_of(i: int, error: ImpossibleSchedule) -> Path:
    """Where in the profile the mistake in its i-th schedule is."""
    field = {"": (), "every": ("every_seconds",)}.get(error.field, (error.field,))
    return ("schedules", i, *field)


def _whens(written: control_pb2.ProfileSchedule) -> Iterator[tuple[str, object]]:
    yield from (("at", written.at), ("every", written.every_seconds), ("cron", written.cron))


def _wrong(i: int, error: ImpossibleSchedule) -> Wrong:
    place = place_of(i, error)
    return Wrong(place, f"{field_name(place)}: {error}")
