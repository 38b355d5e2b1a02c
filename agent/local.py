"""The gateway's twin for running an employee without a control plane: messages in, their ends out, all in this process."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from agent.errors import ActionFailed, NoEmbeddingModel, SidecarEnded, SidecarUnavailable
from agent.local_sidecars import SidecarProcesses
from agent.meaning import Embedder
from empla.v1 import control_pb2
from empla.v1 import gateway_pb2 as pb

MAX_PROGRESS = 10_000


class LocalGateway:
    """A `Gateway` in memory. The database is still the truth: whoever stores a message hands it in with `deliver`.

    Without `sidecars` none can be had, and without an `embedder` no vectors.
    """

    def __init__(
        self,
        configuration: pb.EmployeeConfiguration,
        *,
        sidecars: SidecarProcesses | None = None,
        embedder: Embedder | None = None,
        heartbeat_ms: int = 60_000,
    ) -> None:
        self._sidecars, self._embedder = sidecars, embedder
        self._down: asyncio.Queue[pb.ControlFrame] = asyncio.Queue()
        welcome = pb.Welcome(configuration=configuration, heartbeat_ms=heartbeat_ms)
        self._down.put_nowait(pb.ControlFrame(welcome=welcome))
        self._ends: defaultdict[UUID, asyncio.Event] = defaultdict(asyncio.Event)
        self._states: dict[UUID, str] = {}
        self.acknowledged: set[UUID] = set()
        self.progress: deque[pb.Progress] = deque(maxlen=MAX_PROGRESS)

    async def frames(self) -> AsyncIterator[pb.ControlFrame]:
        """See `Gateway.frames`."""
        while True:
            yield await self._down.get()

    def send(self, frame: pb.AgentFrame) -> None:
        """Take a frame of the employee."""
        match frame.WhichOneof("frame"):
            case "ack":
                self.acknowledged.add(UUID(frame.ack.message_id))
            case "progress":
                self.progress.append(frame.progress)
            case "outbox_ready":
                message_id = UUID(frame.outbox_ready.message_id)
                self._states[message_id] = frame.outbox_ready.message_state
                self._ends[message_id].set()

    async def embed(self, texts: Sequence[str], *, query: bool, deadline: float) -> pb.EmbedResponse:
        """See `Gateway.embed`."""
        if self._embedder is None:
            raise NoEmbeddingModel("this employee was started without a model for it")
        return await self._embedder.embed(texts, query=query, deadline=deadline)

    async def forget(self, subject: str, message_id: UUID) -> pb.ForgetSubjectResponse:
        """See `Gateway.forget`: the employee's own role may delete nothing, so nobody is here who can."""
        raise ActionFailed("without a control plane nothing is forgotten on request")

    async def acquire_sidecar(
        self, kind: control_pb2.SidecarKind.ValueType, *, memory_bytes: int, idle_ttl: int
    ) -> pb.SidecarLease:
        """See `Gateway.acquire_sidecar`."""
        if self._sidecars is None:
            raise SidecarUnavailable("this employee was started without any")
        return await self._sidecars.acquire(kind, memory_bytes=memory_bytes, idle_ttl=idle_ttl)

    async def renew_sidecar(self, sidecar_id: str) -> pb.SidecarLease:
        """See `Gateway.renew_sidecar`."""
        if self._sidecars is None:
            raise SidecarEnded("this employee was started without any")
        return await self._sidecars.renew(sidecar_id)

    async def release_sidecar(self, sidecar_id: str) -> None:
        """See `Gateway.release_sidecar`."""
        if self._sidecars is not None:
            await self._sidecars.release(sidecar_id)

    def deliver(self, message: pb.Deliver) -> None:
        """Give the employee a stored message."""
        self._down.put_nowait(pb.ControlFrame(deliver=message))

    def configure(self, configuration: pb.EmployeeConfiguration) -> None:
        """Have the employee go on by another configuration."""
        changed = pb.ConfigurationChanged(configuration=configuration)
        self._down.put_nowait(pb.ControlFrame(configuration_changed=changed))

    def wake(self, reason: str) -> None:
        """Begin a cycle of the proactive loop now."""
        self._down.put_nowait(pb.ControlFrame(wake=pb.Wake(reason=reason)))

    def resume(self) -> None:
        """Say that a unit has been answered."""
        self._down.put_nowait(pb.ControlFrame(resume_unit=pb.ResumeUnit()))

    def pause(self, *, paused: bool) -> None:
        """Have the employee pause, or go on."""
        self._down.put_nowait(pb.ControlFrame(pause=pb.PauseWork(paused=paused)))

    def cancel(self, message_id: UUID) -> None:
        """Say that somebody wants work on a message stopped."""
        self._down.put_nowait(pb.ControlFrame(cancel=pb.CancelWork(message_id=str(message_id))))

    def drain(self, deadline_ms: int) -> None:
        """Let the employee finish and end."""
        self._down.put_nowait(pb.ControlFrame(drain=pb.Drain(deadline_ms=deadline_ms)))

    async def handed_over(self, message_id: UUID) -> str:
        """Wait until the employee is done with a message; returns the state it left it in."""
        await self._ends[message_id].wait()
        return self._states[message_id]
