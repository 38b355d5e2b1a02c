"""The way of a message as bars over time, a lane for each stage and each part: what ran side by side is seen so."""

from bisect import bisect
from collections.abc import Iterable, Iterator
from itertools import pairwise

from controlplane.cli.output import dim, milliseconds
from empla.v1 import control_pb2

WIDTH = 60
_BARS = {"failed": "×", "lost": "×", "drained": "▒", "cancelled": "▒"}
_DONE, _PAUSE = "█", "·"
_LEGEND = {"×": "failed", "▒": "cut off", _PAUSE: "waited"}

type Span = tuple[float, float]


def part(attempt: control_pb2.Attempt) -> str:
    """Which part of the message an attempt worked on, counted from 1; '' where it was the whole."""
    return str(attempt.intent_index + 1) if attempt.stage == "work" and attempt.intent_index >= 0 else ""


def lanes(message: control_pb2.Message, stages: Iterable[str]) -> Iterator[str]:
    """The lanes of `message`, in the order of `stages` and of its parts; nothing before its first attempt ended."""
    begun = [attempt for attempt in message.attempts if attempt.started_at.seconds]
    if not begun:
        return
    axis = _Axis(map(_span, begun))
    order = {stage: position for position, stage in enumerate(stages)}
    begun.sort(key=lambda attempt: (order.get(attempt.stage, len(order)), attempt.intent_index))
    names = dict.fromkeys(map(_lane, begun))
    drawn = {name: _drawn([a for a in begun if _lane(a) == name], axis) for name in names}
    width = max(map(len, names))
    yield f"\n{'':<{width}}  0{axis.title:>{WIDTH - 1}}"
    yield from (f"{name:<{width}}  {line}".rstrip() for name, line in drawn.items())
    seen = [f"{mark} {meaning}" for mark, meaning in _LEGEND.items() if any(mark in line for line in drawn.values())]
    if seen:
        yield dim(f"{'':<{width}}  {'  '.join(seen)}")


def _lane(attempt: control_pb2.Attempt) -> str:
    return f"{attempt.stage} {part(attempt)}".rstrip()


class _Axis:
    """Where moments lie on `WIDTH` columns. Where nothing ran, that takes a tenth of the work at most."""

    def __init__(self, spans: Iterable[Span]) -> None:
        busy: list[Span] = []
        for begin, end in sorted(spans):
            if busy and begin <= busy[-1][1]:
                busy[-1] = busy[-1][0], max(end, busy[-1][1])
            else:
                busy.append((begin, end))
        longest = sum(end - begin for begin, end in busy) / 10
        self._begins = [begin for begin, _ in busy]
        self._shifts = [0.0]  # of each stretch of work, by the pauses that were cut before it
        for (_, left), (begin, _) in pairwise(busy):
            self._shifts.append(self._shifts[-1] + max(0.0, begin - left - longest))
        whole = busy[-1][1] - busy[0][0]
        self._length = whole - self._shifts[-1] or 1.0
        self.title = milliseconds(whole) + (", long pauses cut" if self._shifts[-1] else "")

    def columns(self, span: Span) -> range:
        """Those that `span` takes, one at least."""
        first, last = map(self._column, span)
        first = min(first, WIDTH - 1)
        return range(first, max(first + 1, last))

    def _column(self, moment: float) -> int:
        shift = self._shifts[bisect(self._begins, moment) - 1]
        return round((moment - shift - self._begins[0]) / self._length * WIDTH)


def _drawn(attempts: list[control_pb2.Attempt], axis: _Axis) -> str:
    spans = [_span(attempt) for attempt in attempts]
    cells = [" "] * WIDTH
    for column in axis.columns((min(begin for begin, _ in spans), max(end for _, end in spans))):
        cells[column] = _PAUSE
    for attempt, span in zip(attempts, spans, strict=True):
        for column in axis.columns(span):
            cells[column] = _BARS.get(attempt.outcome, _DONE)
    return "".join(cells)


def _span(attempt: control_pb2.Attempt) -> Span:
    """When it began and ended, in milliseconds."""
    begin = attempt.started_at.ToNanoseconds() / 1e6
    return begin, begin + attempt.duration_ms
