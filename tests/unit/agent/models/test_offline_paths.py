"""What the offline model does with names of files that are not the workspace's."""

import pytest

from agent.models.offline.files import file_names


@pytest.mark.parametrize("path", ["../../token.md", "/etc/hosts.txt", "../secret.txt", "./notes.md"])
def test_a_path_that_leads_elsewhere_is_still_seen_as_one(path: str):
    assert file_names(f"Please read {path} to me") == [path.removeprefix("./")]


@pytest.mark.parametrize("text", ["see https://example.com/a.html", "what is 3/4.5?", "mail ada@example.com/x.md"])
def test_addresses_and_fractions_name_no_file(text: str):
    assert file_names(text) == []
