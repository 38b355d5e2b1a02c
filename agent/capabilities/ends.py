"""How a program or a piece of code ended, in words for a model."""

import signal

from workstation.interface import EndReason, ExecEnd, ExecStatus, RunEnd


def status_in_words(status: ExecStatus) -> str:
    """Such as `exited with code 0 after 0.12 s`, or `still running`."""
    return "still running" if status.end is None else end_in_words(status.end)


def end_in_words(end: ExecEnd) -> str:
    """The reason with its code or signal, and how long it took."""
    after = f"after {end.wall_seconds:.2f} s"
    because = f" ({end.message})" if end.message else ""
    match end.reason:
        case EndReason.EXITED:
            return f"exited with code {end.exit_code} {after}{because}"
        case EndReason.SIGNALED:
            return f"was ended by signal {_signal(end.signal)} {after}"
        case EndReason.CANCELLED:
            return f"was stopped {after}"
        case _:
            return f"{_STOPPED[end.reason]} {after}{because}"


def ask_for_more(most: int | None, how: str) -> str:
    """What to do when a program ran out of memory: ask for up to `most` bytes, in this way; None if there is no more."""
    if most is None:
        return "; there is no more for it here, so it must do with less"
    return f"; call it again with {how}, of which there is up to {most >> 20}"


def run_in_words(end: RunEnd, *, failed: bool) -> str:
    """How a run in the Python session ended; the next one starts afresh when the session is gone."""
    after = f"after {end.wall_seconds:.2f} s"
    gone = "" if end.session_alive else "; Python ended with it: variables are gone, the next run starts afresh"
    if end.reason is EndReason.EXITED and end.session_alive:
        return f"{'raised an exception' if failed else 'done'} {after}"
    words = {EndReason.EXITED: "ended Python itself", EndReason.SIGNALED: "crashed", EndReason.CANCELLED: "was stopped"}
    return f"{(words | _STOPPED)[end.reason]} {after}{gone}"


_STOPPED = {
    EndReason.TIMED_OUT: "timed out and was stopped",
    EndReason.OUT_OF_MEMORY: "ran out of memory and was stopped",
    EndReason.OUTPUT_LIMIT: "wrote too much and was stopped",
    EndReason.LOST: "was lost with its sandbox",
}


def _signal(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return str(number)
