"""What the sandbox needs of a machine, and what to do where that is missing."""

from pathlib import Path

_LIBRARY = "error while loading shared libraries"
_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
)


def explain(said: str) -> str:
    """Turn what nsjail `said` before it gave up into a sentence that says what to do."""
    if _LIBRARY in said:
        library = said.partition(_LIBRARY + ": ")[2].partition(":")[0]
        return f"nsjail needs the library {library}: apt-get install libnl-route-3-200 (Debian, Ubuntu)"
    if cure := switched_off():
        return cure
    lines = [line.partition("] ")[2] or line for line in said.splitlines() if line.startswith(("[E]", "[F]"))]
    return f"nsjail could not build the sandbox: {' / '.join(lines[-3:]) or said[-500:].strip() or 'it said nothing'}"


def switched_off() -> str:
    """Which switch of the kernel's forbids user namespaces, and how to allow them; '' when none does."""
    for place, off, cure in _SWITCHES:
        if _read(place) == off:
            return f"this machine allows no user namespaces ({place} is {off}): {cure}"
    return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
