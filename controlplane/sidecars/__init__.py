"""Sidecars: workstations of an employee's own for a while, leased, limited and ended in time."""
