"""A message's lanes: what ran side by side is drawn side by side."""

from controlplane.cli.answer import STAGES
from controlplane.cli.lanes import WIDTH, lanes
from empla.v1 import control_pb2

RECEIVED = 1_700_000_000


def _attempt(
    stage: str, began: int, took: int, *, part: int = -1, outcome: str = "succeeded", step: str = "a_step"
) -> control_pb2.Attempt:
    """`began` and `took` in seconds."""
    attempt = control_pb2.Attempt(
        stage=stage, step=step, attempt=1, outcome=outcome, duration_ms=took * 1000, intent_index=part
    )
    attempt.started_at.seconds = RECEIVED + began
    return attempt


def _lanes(*attempts: control_pb2.Attempt) -> dict[str, str]:
    """What is drawn, by lane; the axis under '', the legend under 'legend'."""
    lines = "\n".join(lanes(control_pb2.Message(attempts=attempts), STAGES)).splitlines()[1:]
    width = len(lines[0]) - len(lines[0].lstrip())
    drawn = {line[:width].strip(): line[width:] for line in lines[:1]}
    return drawn | {line[:width].strip() or "legend": line[width:] for line in lines[1:]}


def _columns(line: str, mark: str) -> set[int]:
    return {column for column, cell in enumerate(line) if cell == mark}


def test_parts_that_ran_at_once_lie_above_each_other() -> None:
    drawn = _lanes(
        _attempt("analyze", 0, 2),
        _attempt("work", 2, 4, part=0),
        _attempt("work", 2, 8, part=1),
        _attempt("merge", 10, 2),
    )
    assert list(drawn) == ["", "analyze", "work 1", "work 2", "merge"]
    first, second = _columns(drawn["work 1"], "█"), _columns(drawn["work 2"], "█")
    assert first < second
    assert (len(first), len(second)) == (WIDTH * 4 // 12, WIDTH * 8 // 12)
    assert max(_columns(drawn["analyze"], "█")) < min(second)
    assert max(second) < min(_columns(drawn["merge"], "█"))
    assert drawn[""].split() == ["0", "12.00", "s"]


def test_what_failed_was_cut_off_or_waited_is_told_apart() -> None:
    drawn = _lanes(
        _attempt("work", 0, 4, part=0, outcome="failed"),
        _attempt("work", 6, 4, part=0),
        _attempt("work", 0, 10, part=1, outcome="drained"),
    )
    assert [sorted(set(line.strip())) for line in drawn.values()][1:3] == [["·", "×", "█"], ["▒"]]
    assert drawn["legend"].split() == ["×", "failed", "▒", "cut", "off", "·", "waited"]


def test_a_night_in_which_nothing_ran_takes_a_tenth() -> None:
    drawn = _lanes(_attempt("work", 0, 5, part=0, outcome="waiting"), _attempt("work", 40_000, 5, part=0))
    assert len(_columns(drawn["work 1"], "█")) == WIDTH - len(_columns(drawn["work 1"], "·"))
    assert 1 <= len(_columns(drawn["work 1"], "·")) <= WIDTH // 10
    assert drawn[""].endswith("666 min 45 s, long pauses cut")


def test_the_shortest_attempt_is_seen_and_stays_on_the_axis() -> None:
    drawn = _lanes(_attempt("analyze", 0, 30), _attempt("merge", 15, 0), _attempt("send", 30, 0))
    assert _columns(drawn["merge"], "█") == {WIDTH // 2}
    assert _columns(drawn["send"], "█") == {WIDTH - 1}


def test_nothing_is_drawn_before_anything_ended() -> None:
    assert not list(lanes(control_pb2.Message(), STAGES))
