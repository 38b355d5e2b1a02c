"""How long what is believed lasts: employees go by it, and the control plane tells it."""

from datetime import datetime

DECAY_PER_DAY = 0.1
"""What nobody confirms is worth less every day."""
DROPPED_BELOW = 0.1
"""What is worth less is believed no more."""
_DAY_SECONDS = 86_400


def confidence_left(confidence: float, supported_at: datetime, now: datetime) -> float:
    """What is left of a confidence, from 0 to 1, that a belief had when it was last supported."""
    days = max(0.0, (now - supported_at).total_seconds() / _DAY_SECONDS)
    return max(0.0, confidence - DECAY_PER_DAY * days)
