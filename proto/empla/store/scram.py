"""Passwords as PostgreSQL stores them (SCRAM-SHA-256, RFC 5803), so that a clear one never travels in a statement."""

import base64
import hashlib
import hmac
import os
import secrets

ITERATIONS = 4096  # RFC 7677's minimum, PostgreSQL's default; our passwords are random, so more would only slow logins


def new_password() -> str:
    """Return a password of 256 random bits that needs no quoting in a URL."""
    return secrets.token_urlsafe(32)


def verifier(password: str) -> str:
    """Return what `CREATE ROLE … PASSWORD` takes in place of `password`, which must be printable ASCII."""
    if not (password and password.isascii() and password.isprintable()):
        raise ValueError(
            "a database password is printable ASCII, else client and server would normalise it differently"
        )
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_base64(salt)}${_base64(stored_key)}:{_base64(server_key)}"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
