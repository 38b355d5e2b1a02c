"""Notices of alerts: what fired and what is over is told to a webhook and to Slack, as long as it takes within a bound.

Each is a row that is written with the alert. A try takes the row for its time, then calls: a crash loses no notice, and the
other side may get one twice: its id, the `Idempotency-Key`, tells.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from controlplane.alerts import SQL, subject
from controlplane.callbacks import CallbackError, Receipt
from controlplane.settings import Settings
from empla.store.connect import Pool, translated
from empla.store.errors import StoreUnavailable
from empla.store.outage import Outage

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
MAX_PARALLEL = 16
MAX_ATTEMPTS = 10
BACKOFF_SECONDS = 15.0
"""After the first try, twice that after the second …; more than a call may take, for that is how long a try has its row."""
MAX_BACKOFF_SECONDS = 900.0
_SLACK_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Transport(Protocol):
    """Calls a URL."""

    async def post(self, url: str, secret: bytes | None, outbox_id: UUID, payload: dict[str, Any]) -> Receipt:
        """Deliver, or raise a `CallbackError`."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where notices go; `secret` signs them as replies to a callback are signed, None leaves them unsigned."""

    url: str
    secret: bytes | None = None


class Notices:
    """Tells the `targets`, by their names `webhook` and `slack`."""

    def __init__(self, pool: Pool, transport: Transport, targets: Mapping[str, Target]) -> None:
        self._pool, self._transport, self._targets = pool, transport, targets
        self._news = asyncio.Event()
        self._outage = Outage(log, "telling of alerts")

    def look(self) -> None:
        """There may be something to tell."""
        self._news.set()

    async def run(self) -> None:
        """Tell until cancelled; returns at once when there is nobody to tell."""
        while self._targets:
            try:
                await self.round()
                self._outage.over()
            except StoreUnavailable as error:
                self._outage.lasts(error)
            except Exception:
                log.exception("telling of alerts goes on in the next round")
            await self._wait()

    async def round(self) -> None:
        """Try once what is due. Raises `StoreUnavailable`."""
        self._news.clear()
        with translated():
            rows = await self._pool.fetch(
                SQL.claim, list(self._targets), BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, MAX_ATTEMPTS, MAX_PARALLEL
            )
        tried = await asyncio.gather(*map(self._tell, rows), return_exceptions=True)
        for error in filter(None, tried):
            raise error

    async def _tell(self, row: Any) -> None:
        target = self._targets[row["target"]]
        payload = slack_message(row) if row["target"] == "slack" else notice(row)
        try:
            await self._transport.post(target.url, target.secret, row["notice_id"], payload)
        except CallbackError as error:
            last, what = row["attempt"] >= MAX_ATTEMPTS, f"alert {row['kind']} of {subject(row)}"
            then = f"it is not tried again, check EMPLA_ALERT_{row['target'].upper()}" if last else "it is tried again"
            log.warning("%s cannot be told by %s, %s: %s", what, row["target"], then, error)
            return
        with translated():
            await self._pool.execute(SQL.delivered, row["notice_id"])
        self.look()  # that it is over may have waited for this one

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._news.wait()
        except TimeoutError:
            return


def notice(row: Any) -> dict[str, Any]:
    """What the webhook gets."""
    return {
        "notice_id": str(row["notice_id"]),
        "event": row["event"],
        "alert_id": str(row["alert_id"]),
        "kind": row["kind"],
        "tenant": row["tenant"] or "",
        "employee": row["employee"] or "",
        "employee_id": str(row["employee_id"] or ""),
        "detail": row["detail"],
        "since": _time(row["since"]),
        "fired_at": _time(row["fired_at"]),
        "cleared_at": _time(row["cleared_at"]),
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def slack_message(row: Any) -> dict[str, Any]:
    """What an incoming webhook of Slack gets; see docs.slack.dev/messaging/sending-messages-using-incoming-webhooks."""
    head, then = (":rotating_light:", ": ") if row["event"] == "fired" else (":white_check_mark: over:", "; it was: ")
    what = row["kind"].replace("_", " ")
    return {"text": f"{head} *{what}* of {subject(row)}{then}{row['detail']}".translate(_SLACK_TEXT)}


def targets_of(settings: Settings) -> dict[str, Target]:
    """Who is told of alerts."""
    targets, secret = {}, settings.alert_webhook_secret
    if settings.alert_webhook:
        signed = secret.get_secret_value().encode() if secret else None
        targets["webhook"] = Target(settings.alert_webhook.get_secret_value(), signed)
    if settings.alert_slack:
        targets["slack"] = Target(settings.alert_slack.get_secret_value())
    return targets
