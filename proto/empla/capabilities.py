"""The capabilities that are shipped: what an employee implements, and what a profile may grant."""

SHIPPED_CAPABILITIES = ("workspace", "compute", "memory")
