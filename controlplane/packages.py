"""Python packages for jailed programs: a directory that the operator fills and every sandbox mounts, read-only.

The directory itself stays the same one for good, since sandboxes that are kept ready have mounted it already: a new set of
packages is made beside it, whole, and then moved into it entry by entry. What was asked for stands next to it in a file
of requirements; all else in there came along.

    PackagesError
    ├── BadName          not the name of a package on an index
    ├── NoSuchPackage    the index has no wheel of it for this Python, or it is not here
    ├── NoIndex          the index cannot be reached
    ├── Conflicting      no set of versions fits what is asked for
    └── PipMissing       there is no pip to ask
"""

import contextlib
import fcntl
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

INSTALL_SECONDS = 1800
_BUILDING = "building-"
_NO_INDEX = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|Max retries exceeded|ProxyError|SSLError|"
    r"Connection (?:refused|reset)|Network is unreachable|getaddrinfo"
)
_NOT_FOUND = re.compile(
    r"No matching distribution found for (.+)|Could not find a version that satisfies .*?requirement (\S+)"
)


class PackagesError(Exception):
    """The set of packages stays as it was; the message says why."""


class BadName(PackagesError):
    """Not the name of a package, with a version at most: addresses, paths and options are not taken."""


class NoSuchPackage(PackagesError):
    """There is no such package for jailed programs' Python."""


class NoIndex(PackagesError):
    """The package index cannot be reached."""


class Conflicting(PackagesError):
    """What is asked for does not fit together."""


class PipMissing(PackagesError):
    """Nothing can be installed without pip."""


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package; `asked` says whether somebody wanted it or it only came along."""

    name: str
    version: str
    asked: bool


def make_directory(place: Path) -> None:
    """Have the directory there, for everybody to read, whatever the umask is."""
    place.parents[1].mkdir(mode=0o711, parents=True, exist_ok=True)
    for directory in (place.parent, place):
        if not directory.exists():
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)


def asked_file(place: Path) -> Path:
    """The file of requirements that says what was asked for in the directory `place`."""
    return place.parent / "requirements.txt"


class Packages:
    """The packages in the directory `place`; one change at a time."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._asked_file = asked_file(place)

    def installed(self) -> list[Package]:
        """What is there, by name."""
        asked = self._asked()
        found = [Package(name, one.version, name in asked) for name, one in self._distributions().items()]
        return sorted(found, key=lambda package: package.name)

    def add(self, wanted: Iterable[str]) -> list[Package]:
        """Install what is wanted, in its newest version that fits; all else that was asked for keeps its version.

        Raises `PackagesError`, and then nothing has changed.
        """
        new = {canonicalize_name(one.name): str(one) for one in map(_requirement, wanted)}
        with self._changing() as building:
            asked = self._asked()
            present = self._distributions()
            kept = [
                f"{name}=={present[name].version}" if name in present else requirement
                for name, requirement in asked.items()
                if name not in new
            ]
            _install(building, [*kept, *new.values()])
            # Programs in there begin with the name of a Python that sandboxes do not have.
            shutil.rmtree(building / "bin", ignore_errors=True)
            self._publish(building)
            self._write_asked(asked | new)
        return self.installed()

    def remove(self, names: Iterable[str]) -> list[Package]:
        """Remove packages that were asked for, and what came along with nobody else; needs no network."""
        unwanted: set[str] = {canonicalize_name(_requirement(name).name) for name in names}
        with self._changing():
            asked, present = self._asked(), self._distributions()
            if unknown := next(iter(unwanted - asked.keys()), None):
                came_along = "; it came along with another" if unknown in present else ""
                raise NoSuchPackage(f"{unknown} was not asked for{came_along}")
            left = {name: requirement for name, requirement in asked.items() if name not in unwanted}
            for name in present.keys() - _needed(left.values(), present):
                _delete(self._place, present[name])
            self._write_asked(left)
        return self.installed()

    def _distributions(self) -> dict[str, Distribution]:
        found = distributions(path=[str(self._place)])
        return {canonicalize_name(name): one for one in found if (name := one.metadata["Name"])}

    def _asked(self) -> dict[str, str]:
        with contextlib.suppress(FileNotFoundError):
            lines = self._asked_file.read_text().splitlines()
            return {canonicalize_name(_requirement(line).name): line for line in lines if line.strip()}
        return {}

    def _write_asked(self, asked: dict[str, str]) -> None:
        temporary = self._asked_file.with_suffix(".new")
        temporary.write_text("".join(f"{asked[name]}\n" for name in sorted(asked)))
        temporary.replace(self._asked_file)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Path]:
        """Alone, with an empty directory beside the packages, which goes away again."""
        make_directory(self._place)
        with (self._place.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self._place.parent.glob(f"{_BUILDING}*"):  # by one that was killed
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=self._place.parent) as building:
                yield Path(building)

    def _publish(self, building: Path) -> None:
        """Move the new set in and the old one out; each entry is there or not, never in part."""
        new = {entry.name for entry in building.iterdir()}
        with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=self._place.parent) as out:
            for name in new:
                with contextlib.suppress(FileNotFoundError):
                    (self._place / name).rename(Path(out, name))
                (building / name).rename(self._place / name)
            for entry in list(self._place.iterdir()):
                if entry.name not in new:
                    entry.rename(Path(out, entry.name))


def _requirement(text: str) -> Requirement:
    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        raise BadName(f"not the name of a package: {text!r}") from error
    if parsed.url or parsed.marker:
        raise BadName(f"name a package, with a version at most: {text!r}")
    return parsed


def _install(place: Path, requirements: list[str]) -> None:
    """Have pip put wheels of all requirements into the empty directory `place`."""
    command = [_pip(), "-I", "-m", "pip", "install", "--target", str(place), "--only-binary", ":all:"]
    quiet = ["--no-input", "--disable-pip-version-check", "--no-warn-conflicts", "--quiet", "--"]
    try:
        ended = subprocess.run(  # noqa: S603 - our own Python; requirements are parsed and stand behind `--`
            [*command, *quiet, *requirements],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=INSTALL_SECONDS,
            umask=0o022,  # jailed programs are another account
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NoIndex(f"pip was not done after {INSTALL_SECONDS} s") from error
    if ended.returncode != 0:
        raise _translated(ended.stderr)


def _pip() -> str:
    """A Python of the version that jails use, with pip: ours, else the one that our environment was made from."""
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    for python in (sys.executable, str(base)):
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-I", "-c", "import pip"], capture_output=True, check=False).returncode == 0:  # noqa: S603
                return python
    raise PipMissing(f"there is no pip: run {sys.executable} -m ensurepip, or install python3-pip")


def _translated(said: str) -> PackagesError:
    """What pip's complaint means."""
    if _NO_INDEX.search(said):
        return NoIndex("the package index cannot be reached; pip's usual settings (PIP_INDEX_URL, proxies) hold here")
    if "ResolutionImpossible" in said or "conflicting dependencies" in said:
        why = " ".join(line.strip() for line in said.splitlines() if "depends on" in line or "requested" in line)
        return Conflicting(f"no versions fit together: {why}. Add all that matter in one command to choose anew")
    if found := _NOT_FOUND.search(said):
        name = found[1] or found[2]
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return NoSuchPackage(f"the package index has no wheel for Python {version} here of {name}")
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR")]
    return PackagesError(f"pip failed: {' '.join(errors) or said.strip()[-500:]}")


def _needed(requirements: Iterable[str], present: dict[str, Distribution]) -> set[str]:
    """The names of all that the requirements need, as far as it is there."""
    needed: set[tuple[str, str]] = set()
    waiting = [
        (canonicalize_name(one.name), extra) for one in map(Requirement, requirements) for extra in ("", *one.extras)
    ]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in needed or name not in present:
            continue
        needed.add((name, extra))
        for one in map(Requirement, present[name].requires or ()):
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(one.name), extra) for extra in ("", *one.extras)]
    return {name for name, _ in needed}


def _delete(place: Path, package: Distribution) -> None:
    """Remove the package's files, and directories that are empty then. A list that leads elsewhere is not followed."""
    for listed in package.files or ():
        if ".." in listed.parts or Path(*listed.parts).is_absolute():
            continue
        path = place.joinpath(*listed.parts)
        path.unlink(missing_ok=True)
        if path.suffix == ".py":
            for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
                compiled.unlink()
        _prune(path.parent, place)
    with contextlib.suppress(OSError):
        (place / "__pycache__").rmdir()


def _prune(directory: Path, top: Path) -> None:
    while directory != top:
        for empty in (directory / "__pycache__", directory):
            try:
                empty.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return
        directory = directory.parent
