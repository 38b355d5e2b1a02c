"""`empla doctor`: what this machine has, what it lacks, and what to do about it."""

from collections.abc import Iterator
from dataclasses import asdict

import click

from controlplane.cli import machine, service
from controlplane.cli.client import load_settings
from controlplane.cli.finding import Finding
from controlplane.cli.output import json_option, print_json
from controlplane.settings import Settings


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check this machine and say what to do about what is missing; ends with 1 when something must be done."""
    findings = list(_examine(load_settings()))
    failed = any(finding.status == "fail" for finding in findings)
    if as_json:
        print_json({"healthy": not failed, "checks": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    ctx.exit(int(failed))


def _examine(settings: Settings) -> Iterator[Finding]:
    yield machine.check_python()
    yield machine.check_kernel()
    yield machine.check_environment()
    yield machine.check_postgres(settings)
    yield machine.check_home(settings)
    yield machine.check_secrets(settings)
    answer = service.ask(settings)
    yield service.check_control_plane(settings, answer)
    yield service.check_http(settings, answer)
    yield service.check_database(answer)
    yield service.check_clock(answer)
    yield service.check_models(settings, answer)
    yield service.check_embedding(settings, answer)
    yield machine.check_sandbox()
    yield machine.check_bounds()
    yield machine.check_chromium()


def _show(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        click.echo(f"{finding.status:<4}  {finding.name:<{width}}  {finding.found}")
        if finding.advice:
            click.echo(f"{'':<4}  {'':<{width}}  → {finding.advice}")
