"""`empla backup` and `empla restore`, as far as no database is needed to refuse."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fixture = Callable[..., Any]


def test_a_backup_needs_its_directory(empla: Fixture, tmp_path: Path) -> None:
    refused = empla("backup", str(tmp_path / "nowhere" / "b.tar"))
    assert refused.exit_code == 2
    assert f"there is no directory {tmp_path / 'nowhere'}" in refused.stderr


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"PK\x03\x04" + 4096 * b"x"])
def test_what_is_no_archive_is_called_so(empla: Fixture, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.csv").write_bytes(content)
    refused = empla("restore", str(tmp_path / "data.csv"), "--check")
    assert refused.exit_code == 1
    assert "is no archive" in refused.stderr or "or is none" in refused.stderr
