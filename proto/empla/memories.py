"""What an employee and whoever looks after its memories agree on."""

KINDS = ("episodic", "semantic", "procedural", "working")
LEARNT_FROM = 1_000
"""The last messages of an employee: how older ones were done is not looked at any more."""
