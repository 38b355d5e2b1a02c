"""Which sites an employee was sent to, what is risky where, and what its profile and autonomy decide about it."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from agent.capabilities import browser_actions as act
from agent.capabilities.base import EffectKey
from agent.capabilities.browser_risks import Risks
from agent.capabilities.browser_visits import LastUses, SeenElements, Visits, host_of, name_of, page_id_of
from agent.capabilities.policy import Decision, Risk, policy_of
from empla.v1 import control_pb2
from workstation.interface import Page, Snapshot

UNIT = uuid4()
PAGE = "p-1"


def key(response: int = 0, unit: Any = UNIT) -> EffectKey:
    return EffectKey(unit, None, response, 0)


def snapshot(text: str, *, changes: bool = False, url: str = "http://shop.example/") -> Snapshot:
    return Snapshot(page=Page(page_id=PAGE, url=url, title=""), text=text, truncated=False, changes=changes)


def test_what_was_opened_before_any_page_was_read_is_trusted_with_its_subdomains():
    visits = Visits()
    visits.opened(key(2), "https://www.Shop.example/a")
    visits.opened(key(2), "https://other.example./")
    visits.opened(key(3), "https://evil.example/")
    trusted = {host for host in HOSTS if visits.trusts(key(9), f"http://{host}/x")}
    assert trusted == {"shop.example", "www.shop.example", "pay.shop.example", "other.example"}


HOSTS = [
    *("shop.example", "www.shop.example", "pay.shop.example", "other.example"),
    *("evil.example", "notshop.example", "example", "shop.example.evil.example", ""),
]


def test_what_is_opened_after_a_page_said_something_is_not_trusted():
    visits = Visits()
    visits.read(key(1))  # of a page that another message opened
    visits.opened(key(2), "http://evil.example/")
    assert not visits.trusts(key(3), "http://evil.example/")


def test_what_is_opened_after_somebody_else_has_read_for_it_is_not_trusted():
    visits = Visits()
    visits.opened(replace(key(1), led=True), "http://evil.example/")
    assert not visits.trusts(key(1), "http://evil.example/")


@pytest.mark.parametrize(
    ("sent_to", "elsewhere"),
    [
        ("about:blank", "blob:http://evil.example/1"),
        ("about:blank", "about:blank"),
        ("http://www.com/", "http://evil.com/"),
        ("http://shop.example:8080/", "http://shop.example:9090/"),
        ("http://shop.example/", "http://shop.example:8080/"),
        ("http://[::1]:8080/", "http://[::1]:9090/"),
    ],
)
def test_a_site_is_trusted_and_nothing_beside_it(sent_to: str, elsewhere: str):
    visits = Visits()
    visits.opened(key(), sent_to)
    assert not visits.trusts(key(), elsewhere)
    assert visits.trusts(key(), sent_to) == sent_to.startswith("http")


def test_forms_go_between_hosts_of_one_message():
    visits, other = Visits(), uuid4()
    for url in ("http://shop.example:8080/", "http://[::1]:9000/"):
        visits.opened(key(), url)
    visits.opened(key(unit=other), "http://other.example/")
    hosts = ("shop.example", "pay.shop.example", "::1", "other.example", "")
    both = {(sender, receiver) for sender in hosts for receiver in hosts if visits.trust_both(sender, receiver)}
    assert both == {(a, b) for a in hosts[:3] for b in hosts[:3]} | {("other.example", "other.example")}


def test_each_message_is_sent_to_sites_of_its_own():
    visits = Visits()
    visits.opened(key(), "http://shop.example/")
    assert not visits.trusts(key(unit=uuid4()), "http://shop.example/")


def test_only_the_latest_visits_are_kept():
    visits, units = Visits(), [uuid4() for _ in range(600)]
    for unit in units:
        visits.opened(key(unit=unit), "http://shop.example/")
    assert [visits.trusts(key(unit=unit), "http://shop.example/") for unit in (units[0], units[-1])] == [False, True]


@pytest.mark.parametrize("url", ["", "about:blank", "http://[", "http://a.example:x/", "http://:80/", "not an address"])
def test_an_address_without_a_host_has_none(url: str):
    assert host_of(url) == ""


def test_pages_are_called_by_the_names_that_a_model_gave_them():
    page_id = page_id_of("main", key())
    assert (name_of(page_id, key()), name_of(f"{page_id}-2", key())) == ("main", "main-2")
    another = key(unit=uuid4())
    seen_by_another = name_of(page_id, another)
    assert seen_by_another == page_id != page_id_of("main", another)
    assert page_id_of(seen_by_another, another) == page_id


RISKY = [
    ("fill", act.Fill(ref="e1", text="x")),
    ("type_password", act.TypePassword(ref="e1", password=SecretStr("x"))),
    ("select", act.Select(ref="e1", values=["x"])),
    ("drag", act.Drag(ref="e1", to_ref="e2")),
    *(
        ("press", act.Press(key=key))
        for key in ("Enter", "Shift+a", "Control++", "KeyA", "Numpad1", "Space", "Shift+Insert")
    ),
    ("answer_dialog", act.AnswerDialog(accept=True)),
    ("answer_dialog", act.AnswerDialog(accept=False, text="x")),
    *(("click", act.Click(ref=ref)) for ref in ("e2", "e4", "e5", "e6", "e77")),
]
HARMLESS = [
    ("click", act.Click(ref="e3")),
    ("click", act.Click(ref="e7")),
    ("answer_dialog", act.AnswerDialog(accept=False)),
    *(("press", act.Press(key=key)) for key in ("ArrowDown", "Shift+Tab", "Escape", "Control+Home")),
    ("hover", act.Hover(ref="e2")),
    ("snapshot", act.TakeSnapshot()),
    ("read_page", act.ReadPage()),
]


LINES = """- textbox "Name" [ref=e1]
- button "Go \\"now\\"" [disabled] [ref=e2]
- link "On" [ref=e3] -> /on
- checkbox "Agree" [ref=e4]
- generic "Pay" [ref=e5]: 5 EUR
- radio "Yes" [checked] [ref=e6]
- tab "More" [ref=e7]"""
FRAME = """
- iframe [ref=e9]:
  - group:
    - textbox "Card" [ref=f1e2]"""


@pytest.fixture
def risks() -> Risks:
    """Sent to shop.example, where there is a field, a button and a link."""
    visits, seen = Visits(), SeenElements()
    visits.opened(key(), "http://shop.example/")
    seen.see(snapshot(LINES))
    return Risks(visits, seen)


@pytest.fixture
def framed() -> Risks:
    """The same with a frame in it."""
    visits, seen = Visits(), SeenElements()
    visits.opened(key(), "http://shop.example/")
    seen.see(snapshot(LINES + FRAME))
    return Risks(visits, seen)


@pytest.mark.parametrize(("action", "arguments"), RISKY)
def test_giving_data_is_risky_where_the_employee_was_not_sent(risks: Risks, action: str, arguments: Any):
    [found] = risks.of(action, arguments, key(), page_id=PAGE, url="http://evil.example/")
    assert (found.risk, "evil.example" in found.what) == (Risk.SUBMIT, True)
    assert not risks.of(action, arguments, key(), page_id=PAGE, url="http://shop.example/form")


@pytest.mark.parametrize(("action", "arguments"), HARMLESS)
def test_looking_around_is_no_risk(risks: Risks, action: str, arguments: Any):
    assert not risks.of(action, arguments, key(), page_id=PAGE, url="http://evil.example/")


def test_what_is_asked_for_says_what_is_acted_on(risks: Risks):
    [found] = risks.of("click", act.Click(ref="e2"), key(), page_id=PAGE, url="http://evil.example:81/")
    assert found.what == 'give data to evil.example:81, which it was not sent to, by button "Go \\"now\\""'


def test_a_frame_may_be_of_anybody(framed: Risks):
    acts: list[tuple[str, Any]] = [
        ("fill", act.Fill(ref="f1e2", text="x")),
        ("drag", act.Drag(ref="e1", to_ref="f1e2")),
        ("press", act.Press(key="a")),  # wherever the focus is
    ]
    for action, arguments in acts:
        [found] = framed.of(action, arguments, key(), page_id=PAGE, url="http://shop.example/")
        assert "a frame in shop.example" in found.what
    named = act.Press(key="a", ref="e1")
    assert not framed.of("press", named, key(), page_id=PAGE, url="http://shop.example/")


def test_a_look_at_a_part_does_not_hide_that_it_is_in_a_frame():
    seen = SeenElements()
    seen.see(snapshot(LINES + FRAME))
    seen.see(snapshot('- textbox "Card" [ref=f1e2]'))
    assert seen.is_framed(PAGE, "f1e2")
    seen.see(snapshot('- textbox "Card" [ref=f1e2]', url="http://other.example/"))
    assert not seen.is_framed(PAGE, "f1e2")


def test_an_upload_is_risky_anywhere(risks: Risks):
    wanted = act.UploadFiles(ref="e1", paths=["deals/a.pdf"])
    there = risks.of("upload_files", wanted, key(), page_id=PAGE, url="http://shop.example/")
    elsewhere = risks.of("upload_files", wanted, key(), page_id=PAGE, url="http://evil.example/")
    assert [each.what for each in there] == ["upload deals/a.pdf to shop.example"]
    assert [each.risk for each in elsewhere] == [Risk.UPLOAD, Risk.SUBMIT]


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ('- textbox "Password" [ref=e1]', True),
        ('- textbox "Ihr Kennwort" [ref=e1]', True),
        ('- textbox "Code" [ref=e1]: "[filled, hidden]"', True),
        ('- textbox "Code" [password] [ref=e1]', True),
        ('- textbox "Name" [ref=e1]', False),
        ('- link "Forgot your password?" [ref=e1]', False),
    ],
)
def test_password_fields_are_known_by_their_line(line: str, is_one: bool):
    seen = SeenElements()
    seen.see(snapshot(line))
    assert seen.is_password(PAGE, "e1") == is_one


def test_a_change_adds_to_what_was_seen_and_a_new_look_takes_its_place():
    seen = SeenElements()
    seen.see(snapshot('- link "A" [ref=e1]'))
    seen.see(snapshot('- link "B" [ref=e2]', changes=True))
    assert [seen.only_leads(PAGE, ref) for ref in ("e1", "e2")] == [True, True]
    seen.see(snapshot('- link "B" [ref=e2]', url="http://evil.example/"))
    assert [seen.only_leads(PAGE, ref) for ref in ("e1", "e2")] == [False, True]
    assert (seen.url(PAGE), seen.url("another")) == ("http://evil.example/", None)


def test_the_page_that_was_not_used_for_longest_is_the_first_to_go():
    uses = LastUses()
    for page_id in ("a", "b", "a"):
        uses.use(page_id)
    assert uses.unused(["a", "b"], 0.0) == "b"
    assert uses.unused(["a", "b", "never"], 1_000.0) == "never"
    assert uses.unused(["a", "b"], 1_000.0) is None
    assert uses.unused([], 0.0) is None


@pytest.mark.parametrize(
    ("autonomy", "decision"),
    [
        (control_pb2.AUTONOMY_AUTONOMOUS, Decision.ALLOW),
        (control_pb2.AUTONOMY_SUPERVISED, Decision.ASK),
        (control_pb2.AUTONOMY_SHADOW, Decision.DENY),
        (control_pb2.AUTONOMY_UNSPECIFIED, Decision.ASK),
    ],
)
def test_autonomy_decides_what_the_profile_leaves_open(autonomy: Any, decision: Decision):
    policy = policy_of(control_pb2.Profile(policy={"upload": "deny"}), autonomy)
    assert [policy.decide(risk) for risk in (Risk.SUBMIT, Risk.DOWNLOAD, Risk.UPLOAD)] == [
        decision,
        decision,
        Decision.DENY,
    ]


def test_a_decision_that_is_not_known_is_taken_for_the_strictest(caplog: pytest.LogCaptureFixture):
    policy = policy_of(control_pb2.Profile(policy={"upload": "sometimes"}), control_pb2.AUTONOMY_AUTONOMOUS)
    assert policy.decide(Risk.UPLOAD) is Decision.DENY
    assert "sometimes" in caplog.text


def test_a_decision_says_why_something_does_not_happen():
    policy = policy_of(
        control_pb2.Profile(policy={"download": "deny", "upload": "ask"}), control_pb2.AUTONOMY_AUTONOMOUS
    )
    assert "policy.download" in policy.refusal(Risk.DOWNLOAD)
    assert "must approve" in policy.refusal(Risk.UPLOAD)
    assert policy.refusal(Risk.SUBMIT) == ""
