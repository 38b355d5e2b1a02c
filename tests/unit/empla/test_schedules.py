"""When schedules run: intervals, instants and cron, over the days on which clocks are set forward or back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from empla.schedules import Every, ImpossibleSchedule, first_run, timing

ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu")


def _runs(kind: str, expression: str, zone: str, after: str, count: int) -> list[str]:
    """The next runs as `month-day hour:minute` in UTC."""
    moment, runs = datetime.fromisoformat(after), []
    schedule = timing(kind, expression, zone, anchor=ANCHOR)
    for _ in range(count):
        following = schedule.next_after(moment)
        assert following is not None
        runs.append(following.astimezone(UTC).strftime("%m-%d %H:%M"))
        moment = following
    return runs


@pytest.mark.parametrize(
    ("expression", "zone", "after", "runs"),
    [
        # Berlin: 2027-03-28 has no 02:00-03:00, 2027-10-31 has it twice.
        ("30 2 * * *", "Europe/Berlin", "2027-03-27T00:00Z", ["03-27 01:30", "03-28 01:00", "03-29 00:30"]),
        ("0,30 2 * * *", "Europe/Berlin", "2027-03-28T00:00Z", ["03-28 01:00", "03-29 00:00", "03-29 00:30"]),
        ("30 2 * * *", "Europe/Berlin", "2027-10-30T12:00Z", ["10-31 00:30", "11-01 01:30"]),
        ("0 9 * * 1", "Europe/Berlin", "2027-03-20T00:00Z", ["03-22 08:00", "03-29 07:00"]),
        ("0 * * * *", "Europe/Berlin", "2027-10-30T23:30Z", ["10-31 00:00", "10-31 01:00", "10-31 02:00"]),
        ("*/30 * * * *", "Europe/Berlin", "2027-03-28T00:15Z", ["03-28 00:30", "03-28 01:00", "03-28 01:30"]),
        # Santiago sets its clocks forward at midnight: that day has no 00:00-01:00.
        ("0 0 * * *", "America/Santiago", "2027-09-04T12:00Z", ["09-05 04:00", "09-06 03:00"]),
        # Made in the second of two equal hours: the first has gone by.
        ("30 1 * * *", "America/New_York", "2027-11-07T06:10Z", ["11-08 06:30"]),
        ("0 12 29 2 *", "UTC", "2026-01-01T00:00Z", ["02-29 12:00"]),
        ("0 9 1 * MON-FRI", "UTC", "2026-11-27T00:00Z", ["11-27 09:00", "11-30 09:00", "12-01 09:00"]),
    ],
)
def test_cron_by_the_clocks_of_its_zone(expression: str, zone: str, after: str, runs: list[str]):
    assert _runs("cron", expression, zone, after, len(runs)) == runs


def test_every_counts_from_its_anchor_and_not_from_the_last_run():
    assert _runs("every", "5400", "Europe/Berlin", "2026-01-01T00:00Z", 3) == [
        "01-01 01:30",
        "01-01 03:00",
        "01-01 04:30",
    ]
    late = timing("every", "5400", anchor=ANCHOR).next_after(ANCHOR + timedelta(days=20_000, minutes=1))
    assert late == ANCHOR + timedelta(days=20_000, minutes=90)
    assert Every(60, ANCHOR).next_after(ANCHOR - timedelta(days=1)) == ANCHOR + timedelta(minutes=1)


def test_at_is_an_instant_or_a_time_of_its_zone():
    assert _runs("at", "2027-07-01T15:00", "Europe/Berlin", "2026-01-01T00:00Z", 1) == ["07-01 13:00"]
    assert _runs("at", "2027-07-01T15:00+00:00", "Europe/Berlin", "2026-01-01T00:00Z", 1) == ["07-01 15:00"]
    assert _runs("at", "2027-10-31T02:30", "Europe/Berlin", "2026-01-01T00:00Z", 1) == ["10-31 00:30"]
    once = timing("at", "2027-07-01T15:00", anchor=ANCHOR)
    assert once.next_after(datetime(2027, 7, 1, 15, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("kind", "expression", "zone", "field", "named"),
    [
        ("cron", "0 9 30 2 *", "UTC", "cron", "0 9 30 2 *"),
        ("cron", "0 9 31 4,6,9,11 *", "UTC", "cron", "0 9 31"),
        ("cron", "* * * * * *", "UTC", "cron", "five fields"),
        ("cron", "61 * * * *", "UTC", "cron", "minute"),
        ("cron", "hourly", "UTC", "cron", "hourly"),
        ("cron", "0," * 200 + "0 * * * *", "UTC", "cron", "over 200"),
        ("cron", "0 9 * * *", "Europe/Atlantis", "time_zone", "Europe/Atlantis"),
        ("cron", "0 9 * * *", "Europe", "time_zone", "Europe"),
        ("cron", "0 9 * * *", "../../etc/passwd", "time_zone", "etc/passwd"),
        ("cron", "0 9 * * *", "", "time_zone", "''"),
        ("cron", "0 9 * * *", "a\0b", "time_zone", "time zone"),
        ("at", "2026-11-26T23:59:59", "UTC", "at", "past"),
        ("at", "tomorrow", "UTC", "at", "tomorrow"),
        ("at", "0001-01-01T00:00+14:00", "UTC", "at", "no time"),
        ("at", "2027-03-28T02:30", "Europe/Berlin", "at", "Europe/Berlin"),
        ("every", "59", "UTC", "every", "59"),
        ("every", "-60", "UTC", "every", "-60"),
        ("every", "9" * 100, "UTC", "every", "366 days"),
        ("weekly", "1", "UTC", "kind", "weekly"),
    ],
)
def test_what_cannot_be_is_named(kind: str, expression: str, zone: str, field: str, named: str):
    with pytest.raises(ImpossibleSchedule) as refused:
        first_run(timing(kind, expression, zone, anchor=ANCHOR), datetime(2026, 11, 27, tzinfo=UTC))
    assert refused.value.field == field
    assert named in str(refused.value)


_FIELDS = st.tuples(
    st.sampled_from(("*", "*/7", "0", "30", "5,55", "10-20")),
    st.sampled_from(("*", "*/2", "0", "1,2,3", "2", "23")),
    st.sampled_from(("*", "*", "1", "31", "L")),
    st.sampled_from(("*", "*", "3", "10,11")),
    st.sampled_from(("*", "*", "SUN", "1-5", "0#1", "5L")),
)
_MOMENTS = st.integers(0, 2**31).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(_FIELDS, st.sampled_from(ZONES), _MOMENTS)
def test_every_run_is_later_than_the_one_before(fields: tuple[str, ...], zone: str, moment: datetime):
    try:
        schedule = timing("cron", " ".join(fields), zone, anchor=ANCHOR)
        for _ in range(5):
            following = schedule.next_after(moment)
            if following is None:
                return
            assert following > moment
            assert following.utcoffset() == timedelta(0)
            assert (following.second, following.microsecond) == (0, 0)
            moment = following
    except ImpossibleSchedule:
        assert fields[2] == "31"


@given(_FIELDS, st.sampled_from(ZONES), _MOMENTS)
def test_no_run_lies_between_a_moment_and_the_next_run(fields: tuple[str, ...], zone: str, moment: datetime):
    """Asked from any moment in between, the answer is the same."""
    try:
        schedule = timing("cron", " ".join(fields), zone, anchor=ANCHOR)
        following = schedule.next_after(moment)
    except ImpossibleSchedule:
        return
    if following is not None:
        assert schedule.next_after(moment + (following - moment) / 2) == following
        assert schedule.next_after(following - timedelta(microseconds=1)) == following


def _blamed(kind: str, text: str) -> str:
    """The field that is named as wrong; that of the expression when nothing is."""
    try:
        first_run(timing(kind, text, "Europe/Berlin", anchor=ANCHOR), ANCHOR)
    except ImpossibleSchedule as error:
        return error.field
    return kind


@given(st.text(max_size=30), st.sampled_from(("at", "every", "cron")))
def test_any_text_is_a_schedule_or_named_impossible(text: str, kind: str):
    assert _blamed(kind, text) == kind


@given(st.text("0123456789*/,-L#WMONFRIJAN ", max_size=40))
def test_whatever_looks_like_cron_is_a_schedule_or_named_impossible(text: str):
    assert _blamed("cron", text) == "cron"
