"""What the browser needs of a machine, and what to do where that is missing."""

import re
import shutil
from pathlib import Path

from workstation.errors import SandboxUnavailable
from workstation.local.jail import requirements as jail

_INSTALL = "apt-get install chromium-headless-shell (Debian), or `playwright install chromium --only-shell`"
_PLACES = (
    "/usr/lib/chromium/chromium-headless-shell",
    "/usr/lib/chromium/headless_shell",
    "/usr/lib64/chromium-browser/headless_shell",
)
_NAMES = ("chromium-headless-shell", "chrome-headless-shell", "headless_shell")
_LARGE_PLACES = (
    "/usr/lib/chromium/chromium",
    "/usr/lib64/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
)
_LARGE_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_DOWNLOADED = ("chromium_headless_shell-*/*/*headless*shell", "chromium-*/chrome-linux*/chrome")
_SNAP = ("/snap", "/usr/bin/snap")
_LIBRARY = re.compile(r"error while loading shared libraries: ([^\s:]+)")
_NO_SANDBOX = ("No usable sandbox", "Running as root without --no-sandbox", "Failed to move to new namespace")


def find_chromium(given: Path | None = None) -> Path:
    """The Chromium that is `given`, or that of this machine: its small headless build before the large one.

    Raises `SandboxUnavailable`.
    """
    if given is not None:
        if not given.is_file():
            raise SandboxUnavailable(f"there is no Chromium at {given}: {_INSTALL}")
        return given.resolve()
    cache = Path.home() / ".cache" / "ms-playwright"
    small, large = (sorted(cache.glob(pattern), key=_build, reverse=True) for pattern in _DOWNLOADED)
    candidates = [
        *map(Path, _PLACES),
        *_in_path(_NAMES),
        *small,
        *map(Path, _LARGE_PLACES),
        *_in_path(_LARGE_NAMES),
        *large,
    ]
    for place in candidates:
        if place.is_file() and not str(place.resolve()).startswith(_SNAP):  # snaps run in no sandbox but their own
            return place.resolve()
    raise SandboxUnavailable(f"there is no Chromium: {_INSTALL}")


def explain(said: str) -> str:
    """Turn what Playwright and Chromium `said` before they gave up into a sentence that says what to do."""
    if library := _LIBRARY.search(said):
        return f"Chromium needs the library {library[1]}: install the package that has it, or {_INSTALL}"
    if any(words in said for words in _NO_SANDBOX):
        cure = jail.switched_off()
        return f"Chromium's own sandbox does not work: {cure or 'user namespaces must be allowed within the sandbox'}"
    lines = [line for line in said.splitlines() if "][err]" in line or line.startswith("Error:")] or said.splitlines()
    return f"Chromium does not start: {' / '.join(line.strip() for line in lines[-3:])[-800:] or 'it said nothing'}"


def _build(place: Path) -> int:
    """The number in the name of the directory that Playwright keeps it in."""
    number = place.parents[1].name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _in_path(names: tuple[str, ...]) -> list[Path]:
    return [Path(found) for name in names if (found := shutil.which(name))]
