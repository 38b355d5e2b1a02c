import pytest
from hypothesis import given
from hypothesis import strategies as st

from workstation.local.browser.addresses import shown_address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.test/b?page=2#c", "https://a.test/b?page=2#c"),
        ("https://user:pw@a.test/", "https://a.test/"),
        ("https://a@b@a.test/", "https://a.test/"),
        ("https://a.test/user@b", "https://a.test/user@b"),
        ("https://a.test/?Password=x&q=1", "https://a.test/?Password=[hidden]&q=1"),
        ("https://a.test/?user%5Bpassword%5D=x", "https://a.test/?user%5Bpassword%5D=[hidden]"),
        ("https://a.test/?passengers=2&keyword=x&monkey=y", "https://a.test/?passengers=2&keyword=x&monkey=y"),
        ("https://a.test/#access_token=x&state=1", "https://a.test/#access_token=[hidden]&state=1"),
        ("https://a.test/?X-Amz-Signature=x", "https://a.test/?X-Amz-Signature=[hidden]"),
        ("https://a.test/?token=", "https://a.test/?token="),
        ("data:text/plain,short", "data:text/plain,short"),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_address(url) == shown


@pytest.mark.parametrize("value", ["hunter2", "hunter%32", "%68unter2", "my+hunter2"])
def test_masked_words_do_not_appear_however_they_are_written(value: str) -> None:
    assert (
        shown_address(f"https://a.test/?q={value}", lambda text: text.replace("hunter2", "*"))
        == "https://a.test/?q=[hidden]"
    )


@given(st.text(max_size=5000))
def test_addresses_are_bounded(url: str) -> None:
    assert len(shown_address(f"https://a.test/{url}")) <= 2000
    assert len(shown_address(f"data:{url}")) <= 101
