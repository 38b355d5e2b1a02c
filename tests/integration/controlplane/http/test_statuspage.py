"""Getting in to the status page, and what it may do."""

import base64
import hashlib
import logging
import re

import pytest

from empla.v1 import control_pb2
from tests.integration.controlplane.http.site import TOKEN, Site, problem_of


async def test_the_token_in_the_address_becomes_a_cookie(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    response = await site.get("/", params={"token": TOKEN})
    assert (response.status, response.headers["Location"]) == (303, "/")
    cookie = response.cookies["empla_token"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    page = await site.get("/")
    assert (page.status, page.content_type) == (200, "text/html")
    assert (await site.get("/v1/overview")).status == 200
    assert TOKEN not in caplog.text.replace(f"Set-Cookie: empla_token={TOKEN}", "")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
async def test_a_wrong_header_is_not_helped_by_a_cookie(site: Site, authorization: str) -> None:
    await site.get("/", params={"token": TOKEN})
    response = await site.get("/v1/overview", headers={"Authorization": authorization})
    assert response.status == 401
    await problem_of(response)


async def test_without_a_token_the_page_says_how_to_get_in(site: Site) -> None:
    for path in ("/", "/?token=wrong", "/?token="):
        response = await site.get(path)
        assert (response.status, response.content_type) == (401, "text/html")
        assert "empla up" in await response.text()
        assert "Set-Cookie" not in response.headers


async def test_a_revoked_token_is_refused(site: Site) -> None:
    await site.get("/", params={"token": TOKEN})
    await site.pool.execute("UPDATE operator_tokens SET revoked_at = now()")
    assert (await site.get("/v1/overview")).status == 401
    assert (await site.get("/")).status == 401


async def test_the_overview_is_the_message_as_json(site: Site) -> None:
    site.overview.employees.add(name="sales-ae", epoch=3, observed_state=control_pb2.OBSERVED_STATE_ATTACHED)
    site.overview.last_messages.add(text="<b>hello</b>", state="answered")
    site.overview.latency.count = 2
    response = await site.get("/v1/overview", headers={"Authorization": f"Bearer {TOKEN}"})
    overview = await response.json()
    assert overview["employees"][0]["observed_state"] == "OBSERVED_STATE_ATTACHED"
    assert overview["last_messages"][0]["text"] == "<b>hello</b>"
    assert (overview["latency"]["count"], overview["open_reviews"]) == (2, 0)


async def test_the_page_runs_its_own_script_and_nothing_else(site: Site) -> None:
    response = await site.get("/", headers={"Authorization": f"Bearer {TOKEN}"})
    page, policy = await response.text(), response.headers["Content-Security-Policy"]
    for tag in ("script", "style"):
        [inline] = re.findall(rf"(?s)<{tag}>(.*?)</{tag}>", page)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|style=|\son\w+=\"|https?://", page
    )
