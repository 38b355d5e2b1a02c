"""What an office tells an employee over a year and asks it later: facts, questions about them, and talk around them."""

import random
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WORDINGS = ("same_words", "other_words", "german")


@dataclass(frozen=True, slots=True)
class Question:
    """One question, the fact that answers it, and how its wording goes with the fact's."""

    text: str
    fact: str
    wording: str


_TOLD = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["fact"]
FACTS: tuple[str, ...] = tuple(told["text"] for told in _TOLD)
QUESTIONS = tuple(
    Question(told[wording], told["text"], wording) for told in _TOLD for wording in WORDINGS if wording in told
)

_SENDERS = (
    "ada",
    "carl",
    "dilek",
    "elif",
    "farid",
    "gwen",
    "hugo",
    "ilse",
    "jamal",
    "kira",
    "leon",
    "mona",
    "nils",
    "olga",
    "petra",
    "ravi",
)
_FIRMS = (
    "Acme",
    "Brightwater",
    "Cobalt",
    "Dunmore",
    "Everett",
    "Foxglove",
    "Granite",
    "Harrow",
    "Ivory",
    "Juniper",
    "Kirkwood",
    "Lantern",
    "Magnolia",
    "Northgate",
    "Oakley",
    "Pinnacle",
    "Quarry",
    "Ridgeway",
    "Sterling",
    "Thornton",
)
_THINGS = (
    "offer",
    "contract",
    "invoice",
    "report",
    "order",
    "presentation",
    "meeting",
    "price list",
    "delivery",
    "newsletter",
    "budget",
    "forecast",
    "survey",
    "workshop",
    "demo",
    "ticket",
    "campaign",
    "training",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October")
_TALK = (
    "{who} wrote: Can you send the {thing} for {firm} until {day}?\nI answered: It went out this morning.",
    "{who} wrote: How many open deals does {firm} have?\nI answered: {firm} has {n} open deals.",
    "{who} wrote: Please move the {thing} with {firm} to {day}.\nI answered: It is now on {day} at {hour}:00.",
    "The {thing} of {firm} was {n}00 euros in {month}.",
    "{firm} asked for a new {thing} with a price for {n} seats.",
    "{who} was not in the office on {day} and asked for the {thing} by email.",
    "{who} wrote: What did {firm} say about the {thing}?\nI answered: They want to look at it again in {month}.",
    "The {thing} for {firm} is in the folder of {month}.",
    "{firm} pays its invoices within {n} days.",
    "{who} prefers the {thing} as a table with {n} rows.",
    "{who} wrote: Remind me to call {firm} on {day}.\nI answered: I will remind you on {day} at {hour}:00.",
    "The customer {firm} opened a ticket because the {thing} did not arrive on {day}.",
    "In {month} the {thing} with {firm} took {n} minutes longer than planned.",
    "{who} and {firm} agreed on a {thing} every {day}.",
    "{who} wrote: Is the {thing} for {firm} ready?\nI answered: Not yet, {n} pages are missing.",
    "{firm} wants the next {thing} in {month} and not earlier.",
    "The meeting about the {thing} starts at {hour}:00 on {day} and the room is booked.",
    "{who} wrote: Wann kommt das Angebot für {firm}?\nI answered: Am {n}. {month}.",
    "{who} changed the {thing} of {firm} for the {n}th time; the number is {n}{hour}.",
    "On {day} the team of {firm} visits the office for the {thing}; {who} meets them at the door.",
)  # fmt: skip


def talk() -> Iterator[str]:
    """What else is remembered, without an end and always the same: ordinary talk with the words that questions have too."""
    chance = random.Random(7)
    while True:
        yield chance.choice(_TALK).format(
            who=chance.choice(_SENDERS),
            firm=chance.choice(_FIRMS),
            thing=chance.choice(_THINGS),
            day=chance.choice(_DAYS),
            month=chance.choice(_MONTHS),
            n=chance.randrange(2, 90),
            hour=chance.randrange(8, 18),
        )
