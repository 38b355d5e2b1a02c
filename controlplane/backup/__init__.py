"""Backups: one archive of the database and of all workspaces, taken while everything runs, and what is made of it again."""
