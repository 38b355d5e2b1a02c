"""When work is the same again, and when it goes well enough to be know-how: rules; a model only finds the words for it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal
from uuid import UUID

from agent.mind.revision import WORD, compared

MIN_RUNS = 3
"""So often must the same be done before it is learnt, and before it is promoted."""
MIN_ACTIONS = 2
"""What takes one action needs no procedure."""
PROMOTED_FROM = 0.7
DEMOTED_BELOW, DEMOTED_AFTER = 0.5, 5
"""A success rate, and the runs that it takes to tell."""
ALIKE = 0.5
"""Of two requests for the same: the share of their words that both have (Dice's coefficient)."""
COMMON = 0.6
"""The share of the requests that a word is in which they have in common."""
FITS = 0.6
"""The share of those words that a message has which asks for the same."""
MIN_COMMON = 2
_STEM = 6
_LITTLE = 3
_LITTLE_WORDS = """and are bitte can could das dem den der des die does ein eine einem einen for from für has have how ich
    ist mir mit our out please the their them then there they this und uns von was were what when which who wie will wir with
    would you your"""
_STOP = frozenset(_LITTLE_WORDS.split())

type State = Literal["learnt", "promoted", "demoted"]


@dataclass(frozen=True, slots=True)
class Run:
    """How one part of a message was done: what was asked, which actions it took in order, and whether it went well.

    `told` are the procedures that the employee had been told with the message.
    """

    unit_id: UUID
    message_id: UUID
    request: str
    actions: tuple[str, ...]
    told: frozenset[UUID]
    succeeded: bool
    words: frozenset[str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", words_of(self.request))


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what to do, and the name of the action that does it, '' for none."""

    action: str
    how: str


@dataclass(frozen=True, slots=True)
class Procedure:
    """How to do what was done again and again; `words` is what the requests for it had in common."""

    procedure_id: UUID
    trigger: str
    steps: tuple[Step, ...]
    actions: tuple[str, ...]
    words: frozenset[str]
    runs: int
    successes: int
    state: State

    def in_words(self) -> str:
        """As it is told."""
        steps = [
            f"{number}. {step.how}" + (f" ({step.action})" if step.action else "")
            for number, step in enumerate(self.steps, 1)
        ]
        return "\n".join([self.trigger, *steps])

    def fit(self, words: frozenset[str]) -> float:
        """How much of what it is for is in a text of these words; 0 when that is too little."""
        shared = len(self.words & words)
        share = shared / max(1, len(self.words))
        return share if share >= FITS and shared >= MIN_COMMON else 0.0

    def is_run(self, run: Run) -> bool:
        """Whether a run counts for it: the same was asked, and it was told or did the same of its own accord.

        What it was told with that has other words may ask for something else: that counts only if it did the same.
        """
        fits, told, same = bool(self.fit(run.words)), self.procedure_id in run.told, self.actions == run.actions
        return fits + told + same >= 2

    def after(self, runs: Sequence[Run]) -> "Procedure":
        """The procedure with these runs counted."""
        counted, well = self.runs + len(runs), self.successes + sum(run.succeeded for run in runs)
        return replace(self, runs=counted, successes=well, state=standing(self.state, counted, well))


def standing(state: State, runs: int, successes: int) -> State:
    """The state of a procedure by its success; between the bounds it stays what it is."""
    if runs >= MIN_RUNS and successes >= PROMOTED_FROM * runs:
        return "promoted"
    return "demoted" if runs >= DEMOTED_AFTER and successes < DEMOTED_BELOW * runs else state


def words_of(text: str) -> frozenset[str]:
    """The words of a text that say what it is about, cut to what their forms have in common."""
    words = WORD.findall(compared(text, len(text)))
    return frozenset(
        word.rstrip("s")[:_STEM] for word in words if len(word) >= _LITTLE and word not in _STOP and not word.isdigit()
    )


def alike(one: frozenset[str], other: frozenset[str]) -> float:
    """Which share of the words of two texts both have, from 0 to 1."""
    return 2 * len(one & other) / max(1, len(one) + len(other))


def counted(procedures: Iterable[Procedure], runs: Sequence[Run]) -> tuple[dict[UUID, list[Run]], list[Run]]:
    """The runs of each procedure, each run of the one that fits it best; and those that are of none."""
    of: dict[UUID, list[Run]] = {}
    loose = []
    known = list(procedures)
    for run in runs:
        best = max((one for one in known if one.is_run(run)), key=lambda one: one.fit(run.words), default=None)
        if best is None:
            loose.append(run)
        else:
            of.setdefault(best.procedure_id, []).append(run)
    return of, loose


def repeats(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs that are the same work, done often enough to be learnt and at least once with success; the largest first."""
    groups: list[list[Run]] = []
    for run in runs:
        if len(run.actions) < MIN_ACTIONS:
            continue
        same = (g for g in groups if g[0].actions == run.actions and alike(g[0].words, run.words) >= ALIKE)
        group = next(same, None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    found = [
        group
        for group in groups
        if len(group) >= MIN_RUNS and any(run.succeeded for run in group) and len(common(group)) >= MIN_COMMON
    ]
    return sorted(found, key=len, reverse=True)


def common(runs: Sequence[Run]) -> frozenset[str]:
    """The words that most of the requests have."""
    counts = Counter(word for run in runs for word in run.words)
    return frozenset(word for word, count in counts.items() if count >= COMMON * len(runs))
