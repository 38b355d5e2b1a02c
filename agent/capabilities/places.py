"""Where the work of an action is done: noted by whoever does it, kept beside the action's result."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from pydantic import JsonValue

from empla import telemetry

LOCAL = "local"
"""The name of the place beside the employee; others are sidecars, by their ids."""


@dataclass(slots=True)
class Place:
    """A place where an action works: `waited` seconds until it was there, then used from `began` to `ended`."""

    name: str
    memory_bytes: int
    waited: float = 0.0
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0

    def record(self) -> JsonValue:
        """As it is kept: milliseconds and bytes."""
        return {
            "place": self.name,
            "waited_ms": round(self.waited * 1000, 1),
            "used_ms": round((self.ended - self.began) * 1000, 1),
            "memory_bytes": self.memory_bytes,
        }


_noted: ContextVar[dict[str, Place] | None] = ContextVar("empla_places", default=None)


@contextmanager
def noting() -> Iterator[None]:
    """Note where the block works, in the trace as well."""
    places: dict[str, Place] = {}
    token = _noted.set(places)
    try:
        yield
    finally:
        _noted.reset(token)
        if places:
            telemetry.annotate(**_attributes(list(places.values())))


def noted() -> list[JsonValue]:
    """The places that were come to since `noting` began, in that order."""
    return [place.record() for place in (_noted.get() or {}).values()]


@contextmanager
def working_at(name: str, memory_bytes: int, *, waited: float = 0.0) -> Iterator[None]:
    """Work at a place for the length of the block; an action that comes back to it has used it all the while."""
    places = _noted.get()
    if places is None:  # nobody's action: a check of health
        yield
        return
    place = places.setdefault(name, Place(name, memory_bytes))
    place.waited += waited
    try:
        yield
    finally:
        place.ended = time.monotonic()


def _attributes(places: Sequence[Place]) -> dict[str, str | float]:
    return {
        "places": ", ".join(place.name for place in places),
        "waited_seconds": sum(place.waited for place in places),
        "gib_seconds": sum(place.memory_bytes * (place.ended - place.began) for place in places) / 2**30,
    }
