"""What a scraper reads: each attempt counted once, whoever made it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controlplane import metrics
from controlplane.auth import hashed
from empla.store.ids import new_id
from tests.integration.controlplane.http.site import TOKEN, Site, problem_of

LABELS = ("stage", "step", "outcome", "direction", "le")


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SETTLED", timedelta(0))


async def attempted(site: Site, step: str, seconds: float, outcome: str = "succeeded", **values: Any) -> None:
    row = {"tokens_in": 0, "tokens_out": 0, "cost_micros": 0} | values
    await site.pool.execute(
        "INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, queued_at, "
        "started_at, finished_at, duration_ms, outcome, tokens_in, tokens_out, cost_micros) "
        "VALUES ($1, $2, 1, $1, $3, $4, 'work', now(), now(), clock_timestamp(), $5, $6, $7, $8, $9)",
        new_id(), step, site.tenant_id, site.employee_id, seconds * 1000, outcome, *row.values(),
    )  # fmt: skip


async def scraped(site: Site) -> dict[tuple[str, ...], float]:
    response = await site.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status == 200
    samples = [one for family in text_string_to_metric_families(await response.text()) for one in family.samples]
    return {(one.name, *(one.labels[name] for name in LABELS if name in one.labels)): one.value for one in samples}


async def test_attempts_are_counted_once_by_what_came_of_them(site: Site) -> None:
    await attempted(site, "planning", 0.003, tokens_in=100, tokens_out=7, cost_micros=2_500_000)
    await attempted(site, "planning", 0.7, "failed", tokens_in=50, cost_micros=None)
    for _ in range(2):
        found = await scraped(site)
        assert found["empla_step_attempts_total", "work", "planning", "succeeded"] == 1
        assert found["empla_step_attempts_total", "work", "planning", "failed"] == 1
        took = {key[3]: value for key, value in found.items() if key[0] == "empla_step_duration_seconds_bucket"}
        assert [took[le] for le in ("0.0025", "0.005", "0.5", "1.0", "+Inf")] == [0, 1, 1, 2, 2]
        assert found["empla_step_duration_seconds_sum", "work", "planning"] == pytest.approx(0.703)
        assert found["empla_step_tokens_total", "work", "planning", "in"] == 150
        assert found["empla_step_tokens_total", "work", "planning", "out"] == 7
        assert found["empla_step_cost_dollars_total", "work", "planning"] == 2.5
    await attempted(site, "planning", 400)
    found = await scraped(site)
    assert found["empla_step_attempts_total", "work", "planning", "succeeded"] == 2
    assert found["empla_step_duration_seconds_bucket", "work", "planning", "300.0"] == 2
    assert found["empla_step_duration_seconds_bucket", "work", "planning", "+Inf"] == 3


async def test_what_waits_is_told(site: Site) -> None:
    found = await scraped(site)
    assert {name: found[(name,)] for name in ("empla_messages_live", "empla_reviews_open", "empla_outbox_queued")} == {
        "empla_messages_live": 0, "empla_reviews_open": 0, "empla_outbox_queued": 0,
    }  # fmt: skip


async def test_an_employee_cannot_make_labels_without_end(site: Site) -> None:
    for number in range(metrics.MOST_STEPS + 20):
        await attempted(site, "step_" + chr(97 + number % 26) * (number // 26 + 1), 1)
    await attempted(site, 'a"b\n', 1)
    steps = {key[2] for key in await scraped(site) if key[0] == "empla_step_attempts_total"}
    assert len(steps) <= metrics.MOST_STEPS + 1
    assert "other" in steps


async def test_they_are_for_who_may_see_every_tenant(site: Site) -> None:
    response = await site.get("/metrics")
    assert response.status == 401
    await _narrow(site, "narrow", site.tenant_id)
    response = await site.get("/metrics", headers={"Authorization": "Bearer narrow"})
    assert (response.status, (await problem_of(response))["reason"]) == (403, "TENANT_TOO_NARROW")


async def _narrow(site: Site, token: str, tenant_id: UUID) -> None:
    await site.pool.execute(
        "INSERT INTO operator_tokens (token_id, name, secret_hash, scope, tenant_id) VALUES ($1, $2, $3, 'read', $4)",
        new_id(), token, hashed(token), tenant_id,
    )  # fmt: skip
