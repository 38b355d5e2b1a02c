"""The rules and the dashboard of deploy/monitoring name what is exported, and nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from controlplane.alerts import OF_THE_CONTROL_PLANE
from controlplane.employees import Employees
from controlplane.health import RULES
from tests.integration.controlplane.http.site import TOKEN, Site
from tests.integration.controlplane.http.test_metrics import attempted, settled_at_once  # noqa: F401 - used by name

PLACE = Path(__file__).parents[4] / "deploy" / "monitoring"
_NAME = re.compile(r"\b(?:empla_[a-z_]+|up)\b")
_LABELS = re.compile(r"(\w+)\s*(?:\{([^}]*)\})|by \(([^)]*)\)")
OF_PROMETHEUS = {"up": {"job", "instance"}}


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((PLACE / "prometheus-rules.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> Any:
    return json.loads((PLACE / "grafana-dashboard.json").read_text())


def expressions() -> Iterator[tuple[str, str]]:
    """Each expression with what else names its labels."""
    for rule in rules():
        yield rule["expr"], json.dumps(rule["annotations"])
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]


async def exported(site: Site) -> dict[str, set[str]]:
    """The samples of a system in which each metric has a value, with their labels."""
    await attempted(site, "planning", 0.1, tokens_in=1, cost_micros=1)
    site.lifecycle.records = await Employees(site.pool).list_of(None)
    response = await site.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(await response.text()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.usefixtures("settled_at_once")
async def test_every_metric_and_label_that_is_named_is_exported(site: Site) -> None:
    known = await exported(site) | OF_PROMETHEUS
    for expression, legend in expressions():
        names = set(_NAME.findall(expression))
        assert names, expression
        assert names <= known.keys(), expression
        labels = set.union(*(known[name] for name in names))
        for _, matchers, grouped in _LABELS.findall(expression):
            named = re.findall(r"(\w+)\s*(?:=|!)", matchers) + re.findall(r"\w+", grouped)
            assert set(named) <= labels, expression
        shown = re.findall(r"\$labels\.(\w+)", legend) + re.findall(r"\{\{(\w+)\}\}", legend)
        assert set(shown) <= labels, legend


@pytest.mark.usefixtures("settled_at_once")
async def test_what_is_measured_of_employees_is_told_of_each(site: Site) -> None:
    site.lifecycle.records = await Employees(site.pool).list_of(None)
    await site.pool.execute("UPDATE employee_epochs SET launched_at = now() - interval '2 s', attached_at = now()")
    site.lifecycle.records = await Employees(site.pool).list_of(None)
    response = await site.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    text = await response.text()
    assert 'empla_employee_start_seconds{employee="sales-ae",tenant="default"} 2.0' in text
    assert 'empla_employee_health{employee="sales-ae",tenant="default"} 0.0' in text
    assert 'empla_employees{health="not_running"} 1.0' in text
    assert 'empla_alerts_open{kind="employee_lost"} 0.0' in text


def test_nothing_counts_once_for_each_control_plane_that_is_scraped() -> None:
    """They tell the same: their maximum counts, or a share of what all of them tell."""
    for expression, _ in expressions():
        counted_once = "max without (instance)" in expression or expression.startswith(("max(", "up{"))
        assert counted_once or " / " in " ".join(expression.split()) or "histogram_quantile" in expression, expression


def test_kinds_and_states_that_are_named_are_there() -> None:
    kinds = {rule.kind for rule in RULES if rule.alerts} | set(OF_THE_CONTROL_PLANE)
    for expression, _ in expressions():
        assert set(re.findall(r'kind="(\w+)"', expression)) <= kinds
        for states in re.findall(r'health=~?"([\w|]+)"', expression):
            assert set(states.split("|")) <= {"healthy", "degraded", "unhealthy", "lost", "not_running"}


def test_rules_have_what_prometheus_asks_for() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_the_dashboard_has_no_two_panels_at_one_place() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
