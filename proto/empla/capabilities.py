"""What employees implement and profiles name: capabilities, the risks that a policy decides about, places for work."""

SHIPPED_CAPABILITIES = ("workspace", "compute", "browser", "memory", "schedules", "agents")

RISKS = ("submit", "download", "upload", "schedule", "forget")
DECISIONS = ("allow", "ask", "deny")

PLACES = ("auto", "local", "sidecar")
SIDECAR_MEMORY_MB = (256, 1 << 20)
"""From and to: what a profile may say that one sidecar gets at most."""
WHEN_BUSY = ("enqueue", "collect", "steer", "interrupt")
"""What a message may mean that arrives while an earlier one of its conversation is in work."""

MAX_IN_WORK, MOST_IN_WORK = 32, 256
"""Messages that an employee works on at once, unless its profile says otherwise, and the most that one may say."""

PER_MINUTE_OF_SENDER, PER_MINUTE, MOST_PER_MINUTE = 1_200, 6_000, 60_000
"""Of the messages that arrive in a minute, an employee works on so many of one sender and in all; the most of either."""
