"""Pages over https: Chromium's own TLS through the tunnel of the egress proxy, which sees the name and no content."""

import base64
import hashlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.browsing import Tab, document
from tests.conformance.conftest import make_workspace
from tests.conformance.sites import Sites, open_sites
from workstation.egress import EgressPolicy, EgressProxy, EgressRule
from workstation.errors import NavigationBlocked
from workstation.local.browser import running
from workstation.local.browser.browser import LocalBrowser
from workstation.local.files import LocalFileSystem


@pytest.fixture
async def sites(short_directory: Path) -> AsyncIterator[Sites]:
    async with open_sites(short_directory) as opened:
        yield opened


@pytest.fixture
async def browser(
    sites: Sites, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[LocalBrowser, EgressProxy]]:
    """A Browser that takes the site's own certificate, and no other that nobody vouches for."""
    pinned = f"--ignore-certificate-errors-spki-list={fingerprint(short_directory / 'certificate.pem')}"
    monkeypatch.setattr(running, "_ARGUMENTS", (*running._ARGUMENTS, pinned))
    async with (
        EgressProxy(sites.policy, resolve=sites.names) as egress,
        LocalFileSystem(make_workspace(short_directory / "workspace")) as files,
        LocalBrowser(files, egress=egress) as opened,
    ):
        yield opened, egress


def fingerprint(certificate: Path) -> str:
    """The SHA-256 of the certificate's public key, in base64."""
    pem = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-pubkey", "-noout"], check=True, capture_output=True, text=True
    )
    return base64.b64encode(
        hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.stdout.replace("PUBLIC KEY", "CERTIFICATE"))).digest()
    ).decode()


async def test_a_page_with_what_belongs_to_it(browser: tuple[LocalBrowser, EgressProxy], sites: Sites) -> None:
    opened, _ = browser
    script = sites.https.show("document.title = 'ran'", content_type="text/javascript")
    told = sites.https.show("told")
    body = f"<h1>Plans</h1><script src='{script}'></script><button onclick=\"fetch('{told}', {{method: 'POST', body: 'x'}})"
    body += '.then(r => r.text()).then(t => this.textContent = t)">Ask</button>'
    tab = Tab(opened, "one")
    page = await opened.open_page("one", url=sites.https.show(document(body)))
    assert (page.status, page.title) == (200, "ran")
    assert page.url.startswith("https://site.test:")
    await tab.click("button", "Ask")
    await opened.wait_for("one", text="told")
    assert [(asked.method, asked.body) for asked in sites.https.requests(told)] == [("POST", b"x")]


async def test_a_name_that_is_not_allowed(browser: tuple[LocalBrowser, EgressProxy], sites: Sites) -> None:
    opened, egress = browser
    egress.policy = EgressPolicy((EgressRule("other.test", (sites.https.port,), private=True),))
    await opened.open_page("one")
    with pytest.raises(NavigationBlocked):
        await opened.navigate("one", sites.https.show(document("x")))


async def test_a_redirect_from_https_to_where_nobody_may_go(
    browser: tuple[LocalBrowser, EgressProxy], sites: Sites
) -> None:
    opened, _ = browser
    await opened.open_page("one")
    with pytest.raises(NavigationBlocked):
        await opened.navigate("one", sites.https.redirect(f"http://site.test:{sites.victim.port}/"))
    assert sites.victim.hits == []
