"""What several starts of `empla up` below one home share, and what they may not."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from controlplane.cli.up import _home_of, _make_home, _token
from controlplane.settings import Settings

SERVER = SecretStr("postgresql://somewhere/empla")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    _make_home(tmp_path / "home")
    return tmp_path / "home"


def test_with_a_database_server_several_share_a_home(home: Path):
    settings = Settings(home=home, database_url=SERVER)
    with _home_of(settings), _home_of(settings):
        pass


@pytest.mark.parametrize("alone", [{"database_url": None}, {"database_url": SERVER, "launcher": "inprocess"}])
def test_whoever_needs_a_home_alone_has_it_alone(home: Path, alone: dict[str, object]):
    shared, lonely = Settings(home=home, database_url=SERVER), Settings.model_validate({"home": home} | alone)
    for first, second in ((shared, lonely), (lonely, shared), (lonely, lonely)):
        with _home_of(first), pytest.raises(OSError, match="EMPLA_DATABASE_URL"), _home_of(second):
            pass


def test_the_token_that_is_there_first_is_everybodys(home: Path, monkeypatch: pytest.MonkeyPatch):
    path = home / "token"
    first = _token(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert _token(path) == first
    path.unlink()
    other = f"another one wrote this {'.' * 20}"
    monkeypatch.setattr("os.fsync", lambda _: path.write_text(other))  # in the midst of our writing
    assert _token(path) == other
    assert list(home.glob("token*")) == [path]
