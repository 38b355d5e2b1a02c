"""The hours of a week, by the clocks of a time zone."""

from datetime import datetime

import pytest

from empla.hours import ActiveHours, ImpossibleHours

# 2027-03-22 is a Monday. Berlin: 2027-03-28 has no 02:00-03:00, 2027-10-31 has it twice.


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (
            "Mon-Fri 08:00-18:00",
            ["2027-03-22T08:00Z", "2027-03-26T17:59:59Z"],
            ["2027-03-22T07:59:59Z", "2027-03-22T18:00Z", "2027-03-27T12:00Z"],
        ),
        (
            "Sat,Sun 10:00-12:00",
            ["2027-03-27T10:00Z", "2027-03-28T11:59Z"],
            ["2027-03-26T11:00Z", "2027-03-29T11:00Z"],
        ),
        (
            "mon - fri 8:00 - 12:00 ,13:00-17:30, Sat 10:00-12:00",
            ["2027-03-23T11:59Z", "2027-03-23T13:00Z", "2027-03-27T11:00Z"],
            ["2027-03-23T12:30Z", "2027-03-27T09:00Z", "2027-03-27T13:30Z"],
        ),
        (
            "Fri 22:00-06:00",
            ["2027-03-26T22:00Z", "2027-03-26T23:59Z", "2027-03-27T00:00Z", "2027-03-27T05:59Z"],
            ["2027-03-26T05:00Z", "2027-03-27T06:00Z", "2027-03-27T23:00Z"],
        ),
        ("Sun 23:00-01:00", ["2027-03-28T23:30Z", "2027-03-29T00:30Z"], ["2027-03-28T00:30Z"]),
        ("Sat-Mon 09:00-10:00", ["2027-03-27T09:00Z", "2027-03-29T09:00Z"], ["2027-03-26T09:00Z", "2027-03-30T09:00Z"]),
        ("09:00-10:00", ["2027-03-27T09:00Z", "2027-03-31T09:00Z"], ["2027-03-31T10:00Z"]),
        ("Wed 00:00-24:00", ["2027-03-24T00:00Z", "2027-03-24T23:59Z"], ["2027-03-23T23:59Z", "2027-03-25T00:00Z"]),
        ("  ", ["2027-03-27T03:00Z"], []),
    ],
)
def test_a_moment_is_inside_or_outside(text: str, inside: list[str], outside: list[str]):
    hours = ActiveHours.parse(text)
    assert [at for at in inside if not hours.contains(datetime.fromisoformat(at))] == []
    assert [at for at in outside if hours.contains(datetime.fromisoformat(at))] == []


def test_hours_follow_the_clocks_that_are_set_forward_and_back():
    days = ActiveHours.parse("08:00-18:00", "Europe/Berlin")
    opens = ("2027-03-27T07:00Z", "2027-03-28T06:00Z", "2027-10-30T06:00Z", "2027-10-31T07:00Z")
    for opening in map(datetime.fromisoformat, opens):
        assert days.contains(opening)
        assert not days.contains(opening.replace(hour=opening.hour - 1, minute=59))
    nights = ActiveHours.parse("02:00-03:00", "Europe/Berlin")
    assert nights.contains(datetime.fromisoformat("2027-10-31T00:30Z"))
    assert nights.contains(datetime.fromisoformat("2027-10-31T01:30Z"))
    assert not nights.contains(datetime.fromisoformat("2027-10-31T02:00Z"))
    assert not any(nights.contains(datetime.fromisoformat(f"2027-03-28T0{hour}:30Z")) for hour in range(4))


def test_the_day_is_that_of_the_zone():
    hours = ActiveHours.parse("Sat 00:00-24:00", "Pacific/Auckland")
    assert hours.contains(datetime.fromisoformat("2027-03-26T12:00Z"))
    assert not hours.contains(datetime.fromisoformat("2027-03-27T12:00Z"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("daily", "'daily' are no hours"),
        ("Mon-Fri", "'Mon-Fri' has no hours; all of a day is 00:00-24:00"),
        ("Mon 08:00-10:00,", "'' are no hours"),
        ("Mon 08:00-10:00; Tue 08:00-10:00", "are no hours"),
        ("-Tue 08:00-10:00", "are no hours"),
        ("Mon-Fry 08:00-10:00", "'Fry' is no day"),
        ("Mon 08:00-24:01", "24:01 is no time of day"),
        ("Mon 08:60-10:00", "08:60 is no time of day"),
        ("Mon 08:00-08:00", "is no span"),
        ("Mon 22:00-00:00", "midnight at its end is 24:00"),
        ("Mon 24:00-06:00", "is no span"),
        ("Mon 08:00-10:00, " * 40, "over 500 characters"),
    ],
)
def test_what_are_no_hours_is_refused(text: str, says: str):
    with pytest.raises(ImpossibleHours, match=says) as refused:
        ActiveHours.parse(text)
    assert refused.value.field == "active_hours"


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../UTC", "Europe"])
def test_what_is_no_time_zone_is_refused(zone: str):
    with pytest.raises(ImpossibleHours, match="no time zone") as refused:
        ActiveHours.parse("", zone)
    assert refused.value.field == "time_zone"
