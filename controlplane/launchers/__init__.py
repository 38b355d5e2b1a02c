"""Launchers: how a process of an employee comes to be, and how its end is noticed."""
