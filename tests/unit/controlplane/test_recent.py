"""What happened of late is counted, and forgotten."""

from controlplane.recent import MOST, Recent
from empla.store.ids import new_id


def test_what_happened_long_ago_counts_no_more() -> None:
    now = [0.0]
    recent, one, other = Recent(10, clock=lambda: now[0]), new_id(), new_id()
    for now[0] in (0.0, 4.0, 8.0):
        recent.add(one)
    assert (recent.count(one), recent.count(other)) == (3, 0)
    now[0] = 12.0
    assert recent.count(one) == 2
    now[0] = 30.0
    assert recent.count(one) == 0
    for _ in range(MOST + 5):
        recent.add(other)
    assert recent.count(other) == MOST
