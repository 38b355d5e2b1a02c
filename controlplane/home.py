"""The home: where an installation keeps its files on a machine, and what it is known by."""

import os
from contextlib import suppress
from pathlib import Path

from empla.store.ids import new_id

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def home_id(home: Path) -> str:
    """The id of a home, made when it has none: no other home has it, whatever its path."""
    path = home / "id"
    if not path.exists():
        write_once(path, str(new_id()))
    return path.read_text().strip()


def place_id(home: Path) -> str:
    """The id of a home on this machine, as started last: processes and sockets are reached nowhere else."""
    try:
        machine = _BOOT_ID.read_text().strip()
    except FileNotFoundError:  # it is Linux's
        machine = os.uname().nodename
    return f"{home_id(home)}@{machine}"


def write_once(path: Path, text: str) -> None:
    """Complete or not at all, whenever this process or the machine ends; the first of several who write it at once wins.

    Its owner alone may read the file.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()
