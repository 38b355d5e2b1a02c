"""What can go wrong with the database.

All are `StoreError`::

    StoreError
    ├── StoreUnavailable       the server cannot be reached now, is busy, or the connection broke: try again later
    ├── MigrationFailed        the schema cannot be brought up to date: a person has to look
    ├── QueriesInvalid         a `.sql` file of named statements is malformed, or lacks a name: fix the code
    └── EmbeddedUnavailable    the embedded server cannot be set up or started: the message says what to change
"""


class StoreError(Exception):
    """Something about the database failed."""


class StoreUnavailable(StoreError):
    """The server cannot do it now: it is away, full, or asks to try again; whether a statement took effect is unknown."""


class MigrationFailed(StoreError):
    """A migration failed, was changed after it ran, or the database is newer than this program."""


class QueriesInvalid(StoreError):
    """A file of named statements is malformed, or a statement that the code names is not in it."""


class EmbeddedUnavailable(StoreError):
    """The embedded server cannot be set up, started or stopped; the message says what to change."""
