"""Ephemeral workstations in processes of their own, leased to one employee."""
