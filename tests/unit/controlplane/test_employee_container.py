"""What of this machine an employee in a container reaches, and how."""

from pathlib import Path

import pytest

from controlplane.errors import LaunchFailed
from controlplane.launchers.employee_container import database_in_container, gateway_socket


@pytest.mark.parametrize(
    ("dsn", "inside", "sockets"),
    [
        (
            "postgresql://a:b@/empla?host=/a/b&port=5",
            "postgresql://a:b@/empla?host=/run/postgresql&port=5",
            "/a/b",
        ),
        ("postgresql://a:b@db.example.com:5432/empla", "postgresql://a:b@db.example.com:5432/empla", None),
        ("postgresql://a:b@10.0.0.7/empla?sslmode=require", "postgresql://a:b@10.0.0.7/empla?sslmode=require", None),
    ],
)
def test_a_database_is_reached_by_its_sockets_or_by_a_name(dsn: str, inside: str, sockets: str | None):
    assert database_in_container(dsn) == (inside, Path(sockets) if sockets else None)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5432", "[::1]:5432", "", "%2Frun%2Fpostgresql"])
def test_a_database_that_only_this_machine_reaches_is_refused(host: str):
    with pytest.raises(LaunchFailed, match=r"EMPLA_DATABASE_URL name its directory of sockets") as caught:
        database_in_container(f"postgresql://ada:hunter2@{host}/empla")
    assert caught.value.reason == "DATABASE_OUT_OF_REACH"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "name"),
    [("127.0.0.1:7400", "7400"), ("localhost:7400", "7400"), ("[::1]:7410", "7410"), ("unix:/run/empla/sock", "sock")],
)
def test_a_control_plane_listens_by_the_name_that_it_is_dialled_by(address: str, name: str):
    assert gateway_socket(address) == name
