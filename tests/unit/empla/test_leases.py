"""Tokens of sidecars: who is let in, and by which error the others are not."""

import time
from dataclasses import replace
from typing import Any
from uuid import UUID

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from empla.leases import Lease, LeaseRefused, TokenExpired, TokenInvalid, TokenOfAnother, mint, new_key, verify
from empla.store.ids import new_id

KEY = new_key()
LEASE = Lease(new_id(), new_id(), round(time.time()) + 86_400.25)


def verified(token: str, **changed: Any) -> Lease:
    named = {"sidecar_id": LEASE.sidecar_id, "employee_id": LEASE.employee_id} | changed
    return verify(named.pop("key", KEY), token, **named)


def test_a_token_is_the_lease_it_was_made_of():
    assert verified(mint(KEY, LEASE)) == LEASE


def test_a_token_of_another_key_is_invalid():
    with pytest.raises(TokenInvalid) as refused:
        verified(mint(new_key(), LEASE))
    assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")


def test_a_token_holds_until_its_expiry_and_no_longer():
    token = mint(KEY, LEASE)
    assert verified(token, now=LEASE.expires_at - 0.001) == LEASE
    with pytest.raises(TokenExpired) as refused:
        verified(token, now=LEASE.expires_at)
    assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")


@pytest.mark.parametrize("other", [replace(LEASE, sidecar_id=new_id()), replace(LEASE, employee_id=new_id())])
def test_a_token_of_another_is_forbidden_whoever_signed_it(other: Lease):
    for key in (KEY, new_key()):
        with pytest.raises(TokenOfAnother) as refused:
            verified(mint(key, other))
        assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.PERMISSION_DENIED, "TOKEN_OF_ANOTHER")


def test_no_part_of_a_token_can_be_changed():
    token = mint(KEY, LEASE)
    for place in range(len(token)):
        for other in ("0", "f", ".", "A", " "):
            changed = token[:place] + other + token[place + 1 :]
            if changed != token:
                with pytest.raises(LeaseRefused):
                    verified(changed)


def test_an_expired_token_that_was_forged_is_invalid_rather_than_expired():
    with pytest.raises(TokenInvalid):
        verified(mint(new_key(), replace(LEASE, expires_at=1.0)))


@pytest.mark.parametrize(
    "token",
    ["", ".", "...", "a.b.c.d", "\N{ARABIC-INDIC DIGIT ONE}" * 16, mint(KEY, LEASE) + "\n", mint(KEY, LEASE)[:-1]],
)
def test_what_is_no_token_is_invalid(token: str):
    with pytest.raises(TokenInvalid):
        verified(token)


@given(st.text())
def test_whatever_text_comes_it_is_refused(token: str):
    with pytest.raises(LeaseRefused):
        verified(token)


@given(st.uuids(), st.uuids(), st.integers(1, 10**15))
def test_every_lease_crosses(sidecar_id: UUID, employee_id: UUID, milliseconds: int):
    lease = Lease(sidecar_id, employee_id, milliseconds / 1000)
    token = mint(KEY, lease)
    assert verify(KEY, token, sidecar_id=sidecar_id, employee_id=employee_id, now=0.0) == lease
