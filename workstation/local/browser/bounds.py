"""How long a call may take, and how much it may ask for."""

import math

from workstation.errors import InvalidArgument, LimitExceeded


def seconds_allowed(timeout: float | None, usual: float, *, limit: str = "", most: float = math.inf) -> float:
    """The seconds of a call that was given `timeout`, or none. Raises `InvalidArgument`, and `LimitExceeded` over `most`."""
    if timeout is None:
        return usual
    if not (math.isfinite(timeout) and timeout > 0):
        raise InvalidArgument(f"a timeout is a number of seconds above 0, not {timeout}")
    if timeout > most:
        message = f"a timeout of {timeout:g} s is above the {most:g} s that this may take"
        if not limit:
            raise InvalidArgument(message)
        raise LimitExceeded(message, limit=limit, allowed=most)
    return timeout


def characters_allowed(limit: str, given: int | None, most: int) -> int:
    """How many characters are asked for. Raises `InvalidArgument`, and `LimitExceeded` over `most`."""
    if given is None:
        return most
    if given < 1:
        raise InvalidArgument(f"max_characters is at least 1, not {given}")
    if given > most:
        raise LimitExceeded(f"{given} characters are more than the {most} there may be", limit=limit, allowed=most)
    return given
