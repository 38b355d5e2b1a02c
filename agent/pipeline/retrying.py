"""How long to wait before something that failed is tried again."""

import random

BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0


def wait_before_retry(error: Exception, failures: int) -> float:
    """Seconds: the longer the more `failures` there were, with jitter, and at least what was asked for."""
    delay = random.uniform(0, min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2**failures))  # noqa: S311 - jitter
    asked = getattr(error, "retry_after", None)
    return min(MAX_BACKOFF_SECONDS, max(delay, asked or 0))
