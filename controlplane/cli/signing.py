"""How a sender signs a webhook, as a shell command that can be pasted."""

from shlex import quote

_EXAMPLE = """\
body='{{"event_id": "'"$(date +%s%N)"'", "sender": "me@example.com", "conversation": "demo", "text": "Hello"}}'
timestamp=$(date +%s)
signature=$(printf '%s.%s' "$timestamp" "$body" | openssl dgst -sha256 -hmac {secret} -r | cut -d' ' -f1)
curl -sS {url} -H 'Content-Type: application/json' -H "X-Empla-Timestamp: $timestamp" \\
  -H "X-Empla-Signature: v1=$signature" --data-binary "$body"
"""


def curl_example(http_address: str, receive_path: str, secret: str) -> str:
    """Shell lines that send a signed message to a control plane's HTTP port, or to HOST where that is not known."""
    if "://" in http_address:
        return _EXAMPLE.format(secret=quote(secret), url=quote(http_address.removesuffix("/") + receive_path))
    host, colon, port = http_address.rpartition(":")
    reachable = "127.0.0.1" if host in ("", "0.0.0.0", "[::]") else host  # noqa: S104 - compared, not bound
    base = f"http://{reachable}:{port}" if colon else "https://HOST"
    return _EXAMPLE.format(secret=quote(secret), url=quote(f"{base}{receive_path}"))
