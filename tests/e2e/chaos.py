"""Everything dies at random while messages come in; afterwards each is accounted for.

Messages are delivered as a provider does it: again, with the same event id, until they are taken. Most ask the employee
to note a word of its own, an action that must not be done twice; some have it ask a question, which a person answers, many
of them when nothing dies any more. See `Account` for what is counted.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from random import Random
from typing import Any
from uuid import UUID, uuid4

import grpc

from empla.v1 import control_pb2 as pb
from tests.e2e.callback_server import CallbackServer
from tests.e2e.door import Door, FarDatabase
from tests.e2e.late_writer import LateWriter
from tests.e2e.model_server import NOTES
from tests.e2e.system import ENDED, System, database_url, kill, until

SENDERS = 8
REDELIVERY_SECONDS = 0.3
FROZEN_SECONDS = 3.0
QUIET_SECONDS = (0.5, 3.0)
"""Between two blows."""
ASKING = 8
"""One message of so many has the employee ask something."""
ANSWER_SECONDS = 0.3
LAST_SECONDS = 240.0
"""For all that is left to do when the blows have ended."""


@dataclass(frozen=True)
class Desk:
    """An employee, and the webhook in front of it."""

    employee: str
    path: str
    secret: str


@dataclass(frozen=True)
class Sent:
    """A message that was taken, with the word that it asks to note, or to ask about."""

    desk: Desk
    word: str
    asks: bool
    message_id: str


@dataclass
class Account:
    """What became of the messages of one run; whatever is wrong is a sentence in `wrongs`."""

    blows: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    reviews: Counter[str] = field(default_factory=Counter)
    wrongs: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            ("blows", self.blows),
            ("refused late writes", self.refused),
            ("messages", self.ends),
            ("reviews", self.reviews),
        ]
        told = [f"{name}: " + ", ".join(f"{count} {what}" for what, count in sorted(of.items())) for name, of in lines]
        return "\n".join([*told, f"wrong: {len(self.wrongs)}", *self.wrongs])


class Chaos:
    """One run against a system with a model that may not be held.

    With `far` its database is there, and the network falls silent instead of the database.
    """

    def __init__(
        self,
        system: System,
        desks: Sequence[Desk],
        callbacks: CallbackServer,
        seed: int,
        far: FarDatabase | None = None,
    ) -> None:
        self._system, self._desks, self._callbacks = system, desks, callbacks
        self._random = Random(seed)
        self._over, self._settled = threading.Event(), threading.Event()
        self._late = LateWriter((lambda: far.dsn) if far else (lambda: database_url(system.home)), seed)
        self._blows: dict[str, Callable[[], object]] = {
            "employee killed": self._kill_employee,
            "employee frozen": self._freeze_employee,
            "warm parent killed": system.kill_warm_parent,
            "control plane killed": self._kill_control_plane,
            "everything killed": self._kill_everything,
        }
        if far is None:
            self._blows |= {"database killed": system.kill_database, "database frozen": self._freeze_database}
        else:
            self._blows |= {"answers lost": far.door.lose_answers, "network silent": partial(self._silence, far.door)}

    def run(self, *, messages: int, rate: float, conversations: int = 4) -> Account:
        """Send so many messages, so many a second, under blows; returns what became of all of them."""
        account = Account()
        with ThreadPoolExecutor(SENDERS + 3) as threads:
            others = [
                threads.submit(self._strike, account),
                threads.submit(self._late.run, self._over),
            ]
            answers = threads.submit(self._answer)
            try:
                try:
                    sendings = self._send(threads, messages, rate, conversations)
                finally:
                    self._over.set()
                for other in others:
                    other.result()
                self._system.ensure_running()
                self._settle([sending.result() for sending in sendings], account)
            finally:
                self._settled.set()
            answers.result()
        account.refused += self._late.refused
        account.wrongs += self._late.wrongs
        return account

    # What comes in

    def _send(self, threads: ThreadPoolExecutor, messages: int, rate: float, conversations: int) -> list[Future[Sent]]:
        sendings = []
        for number in range(messages):
            desk, word = self._desks[number % len(self._desks)], f"w{uuid4().hex}"
            asks = number % ASKING == 0
            # What comes next in a conversation would be taken for the answer.
            conversation = word if asks else f"{desk.employee} {number % conversations}"
            sendings.append(threads.submit(self._deliver, desk, conversation, word, asks=asks))
            time.sleep(1 / rate)
        return sendings

    def _deliver(self, desk: Desk, conversation: str, word: str, *, asks: bool) -> Sent:
        delivery = {
            "event_id": uuid4().hex,
            "sender": "ada@example.com",
            "conversation": conversation,
            "text": f"Please ask `What is {word}?`" if asks else f"Please note {word} for me",
        }
        end = time.monotonic() + LAST_SECONDS
        while True:
            try:
                status, answer = self._system.deliver(desk.path, desk.secret, delivery)
            except (OSError, HTTPException):
                status = 0
            if status == 202:
                return Sent(desk, word, asks, str(answer["message_id"]))
            assert status in (0, 503), answer
            assert time.monotonic() < end, "a message is never taken"
            time.sleep(REDELIVERY_SECONDS)

    # What goes wrong

    def _strike(self, account: Account) -> None:
        while not self._over.wait(self._random.uniform(*QUIET_SECONDS)):
            blow = self._random.choice(sorted(self._blows))
            self._blows[blow]()
            account.blows[blow] += 1

    def _pid(self) -> int:
        name = self._random.choice(self._desks).employee

        def look() -> int:
            try:
                return int(self._system.employee(name).pid)
            except grpc.RpcError:
                return 0

        return until(look, f"{name} has a process")

    def _kill_employee(self) -> None:
        kill(self._pid())

    def _freeze_employee(self) -> None:
        pid = self._pid()
        try:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(FROZEN_SECONDS)
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # it was replaced, for it did not answer

    def _freeze_database(self) -> None:
        with self._system.frozen_database():
            time.sleep(FROZEN_SECONDS)

    def _silence(self, door: Door) -> None:
        with door.shut():
            time.sleep(FROZEN_SECONDS)

    def _kill_control_plane(self) -> None:
        self._system.kill_control_plane()
        self._system.start()

    def _kill_everything(self) -> None:
        self._system.kill_everything()
        self._system.start()

    # Who helps

    def _answer(self) -> None:
        """Answer what is asked, every second question when nothing dies any more: then no new launch makes up for it."""
        while not self._settled.wait(ANSWER_SECONDS):
            try:
                self._answer_once()
            except grpc.RpcError:
                continue  # the system is away, or somebody was faster: what is open is listed again

    def _answer_once(self) -> None:
        found = self._system.call("ListReviews", pb.ListReviewsRequest(page_size=500)).reviews
        for review in found:
            if review.kind == "question" and (self._over.is_set() or UUID(review.review_id).int % 2):
                answer = pb.Answer(text=f"an answer to {review.message_id}")
                self._system.call("ResolveReview", pb.ResolveReviewRequest(review_id=review.review_id, answer=answer))

    # What became of it

    def _settle(self, sent: Sequence[Sent], account: Account) -> None:
        end = time.monotonic() + LAST_SECONDS
        notes = {desk.employee: "" for desk in self._desks}
        messages = [(one, self._at_rest(one, end, account)) for one in sent]
        for employee in notes:
            place = self._system.workspace(employee) / NOTES
            notes[employee] = place.read_text() if place.exists() else ""
        for one, message in messages:
            account.ends[message.state] += 1
            account.reviews.update(_why(review) for review in message.reviews)
            noted = notes[one.desk.employee].split().count(one.word)
            posted = [posted.reply["kind"] for posted in self._callbacks.about(one.message_id)]
            found = _wrongs_of_question(message, noted, posted) if one.asks else _wrongs(message, noted, posted)
            account.wrongs += [f"{one.message_id}: {wrong}" for wrong in found]

    def _at_rest(self, one: Sent, end: float, account: Account) -> Any:
        """The message when nothing more happens to it by itself, or when time is up."""
        while True:
            message = self._message(one.message_id, end)
            on_their_way = [reply for reply in message.replies if reply.state in ("queued", "sending")]
            unanswered = one.asks and not _follow_ups(message) and not _others_open(message)
            if message.state in (*ENDED, "waiting") and not on_their_way and not unanswered:
                return message
            if time.monotonic() > end:
                account.wrongs.append(f"{one.message_id}: stuck at {message.state} {message.step}")
                return message
            time.sleep(0.1)

    def _message(self, message_id: str, end: float) -> Any:
        """As soon as the database is up again, which the last blow may have hit."""
        while True:
            try:
                return self._system.message(message_id)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > end:
                    raise
                time.sleep(0.1)


def _why(review: Any) -> str:
    return f"{review.kind} {review.payload.fields['error_class'].string_value}".strip()


def _wrongs(message: Any, noted: int, posted: Sequence[str]) -> list[str]:
    """What must never be: of a message as it ended, its action, and the kinds of what was posted about it."""
    wrongs = []
    done = Counter((step.intent_index, step.step) for step in message.attempts if step.outcome == "succeeded")
    twice = [step for step, times in done.items() if times > 1]
    doubtful = any(review.kind == "unknown_after_send" for review in message.reviews)
    if twice:
        wrongs.append(f"steps that were finished twice: {twice}")
    if noted > 1:
        wrongs.append(f"its action was done {noted} times")
    if posted.count("reply") > 1:
        wrongs.append(f"it was answered {posted.count('reply')} times")
    if message.state == "answered":
        if noted != 1:
            wrongs.append(f"it is answered and its action was done {noted} times")
        if posted != ["reply"]:
            wrongs.append(f"it is answered and posted were {posted}")
        if not message.replies[0].text.startswith("I did that"):
            wrongs.append(f"its answer is {message.replies[0].text!r}")
    elif not any(review.state == "open" for review in message.reviews):
        wrongs.append(f"it is {message.state} and nobody is asked")
    elif not doubtful and "reply" in posted:
        wrongs.append(f"it is {message.state} and was answered")
    wrongs += [f"a review without need: {_why(review)}" for review in message.reviews if not _needed(review, message)]
    return wrongs


def _wrongs_of_question(message: Any, noted: int, posted: Sequence[str]) -> list[str]:
    """The same of a message that had the employee ask something, and was answered."""
    wrongs = []
    if noted:
        wrongs.append("it asks for no action")
    if posted.count("reply") > 1 or posted.count("follow_up") > 1:
        wrongs.append(f"posted were {posted}")
    answer = f"an answer to {message.message_id}"
    wrongs += [f"its end is {reply.text!r}" for reply in _follow_ups(message) if answer not in reply.text]
    if not _others_open(message) and (message.state != "answered" or posted != ["reply", "follow_up"]):
        wrongs.append(f"it is {message.state}, posted were {posted}, and nobody is asked")
    others = [review for review in message.reviews if review.kind != "question"]
    wrongs += [f"a review without need: {_why(review)}" for review in others if not _needed(review, message)]
    return wrongs


def _follow_ups(message: Any) -> list[Any]:
    return [reply for reply in message.replies if reply.kind == "follow_up"]


def _others_open(message: Any) -> bool:
    """Whether a person is asked about a message who is not asked what the employee asks."""
    return any(review.state == "open" and review.kind != "question" for review in message.reviews)


def _needed(review: Any, message: Any) -> bool:
    """Whether a death fell between an intent and its receipt, or one step met more deaths than it may."""
    if review.kind == "unknown_after_send":
        return True
    lost = Counter((step.intent_index, step.step) for step in message.attempts if step.outcome == "lost")
    return any(effect.state == "ambiguous" for effect in message.effects) or max(lost.values(), default=0) > 2


def open_desks(system: System, count: int, callbacks: CallbackServer) -> list[Desk]:
    """So many employees more, each with a webhook whose replies go to `callbacks`."""
    desks = []
    for number in range(count):
        name = f"chaos-{number}-{uuid4().hex[:6]}"
        system.call("CreateEmployee", pb.CreateEmployeeRequest(name=name, profile_name="sales-ae", start=True))
        system.attached(name)
        channel = pb.CreateChannelRequest(name=name, kind="webhook", employee=name, callback_url=callbacks.url)
        created = system.call("CreateChannel", channel)
        desks.append(Desk(name, created.channel.receive_path, created.secret))
    return desks
