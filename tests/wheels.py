"""Small wheels, in a directory that serves pip as an index."""

import zipfile
from collections.abc import Sequence
from pathlib import Path


def make_wheel(
    index: Path, name: str, version: str = "1.0", *, needs: Sequence[str] = (), tag: str = "py3-none-any"
) -> None:
    """A wheel of a package whose `VERSION` is its version; `needs` are its requirements."""
    information = f"{name}-{version}.dist-info"
    extras = "".join(f"Provides-Extra: {one.split("'")[1]}\n" for one in needs if "extra" in one)
    requires = extras + "".join(f"Requires-Dist: {one}\n" for one in needs)
    contents = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{information}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{information}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(f"{path},,\n" for path in [*contents, f"{information}/RECORD"])
    with zipfile.ZipFile(index / f"{name}-{version}-{tag}.whl", "w") as archive:
        for path, text in (contents | {f"{information}/RECORD": record}).items():
            archive.writestr(path, text)


def only_index(index: Path) -> dict[str, str]:
    """Variables that have pip look nowhere else."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
