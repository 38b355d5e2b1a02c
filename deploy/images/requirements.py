"""`requirements.py LOCK NAMES VERSION`: of a lock file the part that some packages need, in the form of the lock file.

NAMES is a file of package names, one a line, whose dependencies are looked up among the installed packages; VERSION is the
Python that they are wanted for (3.13).
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def pinned(lock: str) -> dict[str, str]:
    """Each package's lines of the lock file."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return {canonicalize_name(re.split(r"[=\[ ]", entry, maxsplit=1)[0]): entry for entry in entries if entry.strip()}


def needed(names: list[str], python: str) -> Iterator[str]:
    """The named packages and all that they need, without extras."""
    seen: set[str] = set()
    while names:
        name = canonicalize_name(names.pop())
        if name in seen:
            continue
        seen.add(name)
        yield name
        for requirement in map(Requirement, requires(name) or ()):
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": "", "python_version": python}):
                names.append(requirement.name)


def main() -> None:
    """Print them; a package without a line in the lock file is an error."""
    lock, names, python = sys.argv[1:]
    entries = pinned(Path(lock).read_text())
    for name in sorted(needed(Path(names).read_text().split(), python)):
        sys.stdout.write(entries[name])


if __name__ == "__main__":
    main()
