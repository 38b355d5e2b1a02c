"""`empla compute`: what the employees' sandboxed programs find."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click

from controlplane.cli.client import load_settings
from controlplane.cli.errors import Failure, InvalidInput, NotFound
from controlplane.cli.output import json_option, print_json, print_table
from controlplane.cli.progress import working
from controlplane.packages import BadName, NoIndex, NoSuchPackage, Package, Packages, PackagesError


@click.group()
def compute() -> None:
    """Choose the packages that the employees' sandboxed programs find."""


@compute.group()
def packages() -> None:
    """Python packages for sandboxed programs, in EMPLA_HOME on this machine.

    Programs can only read them, and find them from their next start on. No employee's own environment changes.
    """


@packages.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@json_option
def add(names: tuple[str, ...], as_json: bool) -> None:
    """Install packages, as wheels, with all that they need.

    NAME may have a version, as in 'pandas>=2,<3'. One that is there already is brought up to date; the others that were
    asked for keep their versions.
    """
    with _translated():
        with working("installing"):
            found = _opened().add(names)
        _show(found, as_json=as_json)


@packages.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """List what is installed."""
    with _translated():
        _show(_opened().installed(), as_json=as_json)


@packages.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@json_option
def remove(names: tuple[str, ...], as_json: bool) -> None:
    """Remove packages that were added, and what nobody else needs."""
    with _translated():
        _show(_opened().remove(names), as_json=as_json)


def _opened() -> Packages:
    return Packages(load_settings().compute_packages)


def _show(found: list[Package], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(package) for package in found])
        return
    rows = [(package.name, package.version, "" if package.asked else "came along") for package in found]
    print_table(("NAME", "VERSION", ""), rows, nothing="no packages; add some with `empla compute packages add NAME`")


@contextmanager
def _translated() -> Iterator[None]:
    """Errors as exit codes of the command line."""
    try:
        yield
    except BadName as error:
        raise InvalidInput(str(error), reason="BAD_NAME") from error
    except NoSuchPackage as error:
        raise NotFound(str(error), reason="NO_SUCH_PACKAGE") from error
    except NoIndex as error:
        raise Failure(str(error), reason="INDEX_UNREACHABLE") from error
    except PackagesError as error:
        raise Failure(str(error), reason="PACKAGES_UNCHANGED") from error
    except OSError as error:
        raise Failure(f"the packages cannot be changed: {error}", reason="PACKAGES_UNCHANGED") from error
