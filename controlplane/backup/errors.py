"""What can be wrong with a backup, or with the place that it is restored to.

All are `BackupError`, and say what to do::

    BackupError
    ├── Damaged        the archive is cut off or was changed: not every byte is as it was written
    ├── Unsafe         it holds what no backup holds, such as a path that leads out of its workspace
    ├── Newer          a newer version of this program wrote it, or has brought the database further than this one knows
    ├── NothingThere   there is no installation to take a backup of
    ├── NotUpToDate    the database has not been brought to this version yet
    ├── InUse          the place that it is to be written or restored to holds something already
    └── NoRoom         the disk has too little room for what is in it
"""


class BackupError(Exception):
    """The backup was not taken, not confirmed, or not restored."""


class Damaged(BackupError):
    """The archive is cut off or was changed."""


class Unsafe(BackupError):
    """The archive holds what no backup holds; whoever made it meant harm."""


class Newer(BackupError):
    """The archive or the database is of a newer version than this program."""


class NothingThere(BackupError):
    """There is no database to take a backup of."""


class NotUpToDate(BackupError):
    """The database is of an older version than this program."""


class InUse(BackupError):
    """There is a file, a home or a database already."""


class NoRoom(BackupError):
    """What is in the archive does not fit on the disk."""
