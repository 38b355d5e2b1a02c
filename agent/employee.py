"""DigitalEmployee: one employee, alive. It listens for messages and works on its own goals, side by side."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from importlib import import_module
from pathlib import Path
from uuid import UUID

from google.protobuf.json_format import MessageToDict

from agent.budget import Budget
from agent.capabilities.agents import AgentsCapability
from agent.capabilities.base import CapabilityRegistry
from agent.capabilities.browser import BrowserCapability
from agent.capabilities.compute import ComputeCapability
from agent.capabilities.memory import MemoryCapability
from agent.capabilities.policy import Policy, Risk, policy_of
from agent.capabilities.schedules import SchedulesCapability
from agent.capabilities.workspace import WorkspaceCapability
from agent.errors import GatewayUnavailable
from agent.gateway import Gateway
from agent.hooks import Hooks, Report
from agent.identity import Identity
from agent.loop import LoopTimes, ProactiveLoop
from agent.memory import Memories
from agent.mind.agenda import Agenda
from agent.mind.beliefs import Beliefs
from agent.models.budgeted import BudgetedModel
from agent.models.interface import Model
from agent.models.metered import MeteredModel
from agent.models.retry import RetryingModel
from agent.models.watched import WatchedModel
from agent.moments import EmployeeStarted, tell, tell_health
from agent.patience import patiently
from agent.pausing import Pause
from agent.pipeline.analyze import Analyzer
from agent.pipeline.background import steady_clock
from agent.pipeline.coordinator import Coordinator
from agent.pipeline.progress import Progress
from agent.pipeline.receive import SECURITY_FILTER
from agent.pipeline.step import Incoming
from agent.pipeline.transitions import Transitions
from agent.pipeline.warm import WarmContext
from agent.pipeline.work import Worker
from agent.placed import placed_browser
from agent.placed_compute import PlacedCompute
from agent.placement import Placement, placement_of
from agent.prompts import employee_instructions
from agent.schedules import Schedules
from agent.sidecars import Sidecars
from empla.capabilities import MAX_IN_WORK, SHIPPED_CAPABILITIES
from empla.egress import rule_of
from empla.hours import ActiveHours, ImpossibleHours
from empla.prices import Price
from empla.store.connect import Pool, connect
from empla.v1 import control_pb2, sidecar_pb2
from empla.v1 import gateway_pb2 as pb
from workstation.egress import EgressPolicy, EgressProxy
from workstation.interface import Browser, FileSystem
from workstation.local.compute import LocalCompute
from workstation.local.files import LocalFileSystem

log = logging.getLogger(__name__)

DEFAULT_HEARTBEAT_MS = 5_000
CONNECTION_SECONDS = 120.0
"""For which a connection to the database is kept unused: another, with its statements, costs half as much as a message."""


@dataclass(frozen=True, slots=True)
class DigitalEmployee:
    """One launch of one employee; two of them in one `asyncio.gather` are the development mode.

    `model` answers people, `mind` thinks in the proactive loop: without one the employee forms no beliefs.
    """

    identity: Identity
    database_url: str
    workspace: Path
    gateway: Gateway
    model: Model
    quota_bytes: int | None = None
    quota_entries: int | None = None
    compute_packages: Path | None = None
    browser_profile: Path | None = None
    model_prices: Mapping[str, Price] = field(default_factory=dict)
    mind: Model | None = None
    clock: Callable[[], float] = field(default_factory=steady_clock)
    hooks: Hooks = field(default_factory=Hooks)

    async def start(self) -> None:
        """Live until drained. Raises `Superseded` or `GatewayUnavailable` when there is no use in going on."""
        frames = self.gateway.frames()
        welcome = await _welcome(frames)
        async with (
            self.hooks.telling(welcome.configuration.name, self.identity.employee_id) as hooks,
            self._open(welcome.configuration) as parts,
            asyncio.TaskGroup() as life,
        ):
            await patiently(lambda: parts.coordinator.run(life), "starting")
            looping = life.create_task(parts.loop.run(), name="proactive loop")
            beating = life.create_task(self._beat(parts, welcome.heartbeat_ms, hooks), name="heartbeat")
            tell(EmployeeStarted, epoch=self.identity.epoch)
            drain = await self._listen(frames, parts)
            parts.draining = True
            looping.cancel()
            await parts.coordinator.drain(drain.deadline_ms / 1000)
            beating.cancel()

    async def _listen(self, frames: AsyncIterator[pb.ControlFrame], parts: "_Parts") -> pb.Drain:
        async for frame in frames:
            match frame.WhichOneof("frame"):
                case "deliver":
                    parts.coordinator.deliver(incoming(frame.deliver))
                case "resume_unit":
                    parts.coordinator.resume()
                case "pause":
                    parts.pause.set(paused=frame.pause.paused)
                case "cancel":
                    parts.coordinator.stop(UUID(frame.cancel.message_id))
                case "wake":
                    parts.reread()
                    parts.loop.wake()
                case "drain":
                    return frame.drain
                case "welcome":
                    log.info("attached again")
                    tell_health("gateway")
                    parts.reread()
                    parts.configure(frame.welcome.configuration)
                    parts.memories.meaning.look_again()
                    parts.coordinator.resume()  # what was answered meanwhile was told nobody
                case "configuration_changed":
                    parts.configure(frame.configuration_changed.configuration)
                case other:
                    log.warning("this build does not act on the frame %s", other)
        raise GatewayUnavailable("the gateway ended")

    async def _beat(self, parts: "_Parts", every_ms: int, hooks: Report) -> None:
        every, lag_ms = (every_ms or DEFAULT_HEARTBEAT_MS) / 1000, 0.0
        with _own_memory() as resident:
            while True:
                beat = pb.Heartbeat(
                    state=parts.state,
                    stage=parts.loop.phase,
                    in_flight=parts.coordinator.in_flight,
                    memory_bytes=resident(),
                    loop_lag_ms=lag_ms,
                    model=self.model.name,
                    reported=hooks.reported(),
                    away=hooks.away,
                )
                beat.sent_at.GetCurrentTime()
                self.gateway.send(pb.AgentFrame(heartbeat=beat))
                due = time.perf_counter() + every
                await asyncio.sleep(every)
                lag_ms = max(0.0, (time.perf_counter() - due) * 1000)

    @asynccontextmanager
    async def _open(self, configuration: pb.EmployeeConfiguration) -> AsyncIterator["_Parts"]:
        async with (
            connect(
                self.database_url, application_name=f"empla {configuration.name}", idle_lifetime=CONNECTION_SECONDS
            ) as pool,
            LocalFileSystem(self.workspace, quota_bytes=self.quota_bytes, quota_entries=self.quota_entries) as files,
            EgressProxy() as egress,
            Sidecars(self.gateway) as sidecars,
        ):
            memories = Memories(pool, self.identity, self.gateway)
            browser = BrowserCapability(
                lambda: placed_browser(
                    lambda: self._browser(files, egress, browser, lambda: capabilities.policy),
                    sidecars,
                    lambda: parts.placement,
                ),
                files,
            )
            capabilities = CapabilityRegistry(
                [
                    WorkspaceCapability(files),
                    ComputeCapability(
                        lambda: PlacedCompute(lambda: self._compute(egress), sidecars, lambda: parts.placement),
                        files,
                        lambda memory: parts.placement.more_than(memory),  # noqa: PLW0108 - there are no parts yet
                    ),
                    browser,
                    MemoryCapability(memories, self.gateway),
                    SchedulesCapability(Schedules(pool, self.identity)),
                    AgentsCapability(),
                ]
            )
            capabilities.pause = pause = Pause()
            beliefs = Beliefs(pool, self.identity)
            agenda = Agenda(pool, self.identity)
            loop = ProactiveLoop(pool, self.identity, memories, beliefs, agenda)
            loop.pause = pause
            coordinator = Coordinator(
                pool=pool,
                identity=self.identity,
                transitions=await patiently(lambda: Transitions.load(pool, self.identity), "starting"),
                warm=(warm := WarmContext()),
                send=self.gateway.send,
                on_handled=loop.wake,
                abandon=capabilities.abandon,
                pause=pause,
            )
            loop.consolidation.idle = lambda: not coordinator.in_flight
            parts = _Parts(
                self, pool, memories, beliefs, capabilities, egress, sidecars, coordinator, loop, warm, pause,
                Budget(pool, self.identity, pause),
            )  # fmt: skip
            parts.configure(configuration)
            async with capabilities:
                yield parts

    def _compute(self, egress: EgressProxy) -> LocalCompute:
        return LocalCompute(self.workspace, packages=self.compute_packages, egress=egress)

    @asynccontextmanager
    async def _browser(
        self, files: FileSystem, egress: EgressProxy, capability: BrowserCapability, policy: Callable[[], Policy]
    ) -> AsyncIterator[Browser]:
        """A browser of this machine. Playwright is imported with the first: most employees never need one."""
        module = await asyncio.to_thread(import_module, "workstation.local.browser.browser")
        async with module.LocalBrowser(
            files,
            egress=egress,
            profile=self.browser_profile,
            refuse_download=lambda: policy().refusal(Risk.DOWNLOAD),
            refuse_submission=lambda sender, receiver: capability.refuse_submission(sender, receiver, policy()),
        ) as browser:
            yield browser


@dataclass(slots=True)
class _Parts:
    """What an open employee consists of."""

    employee: DigitalEmployee
    pool: Pool
    memories: Memories
    beliefs: Beliefs
    capabilities: CapabilityRegistry
    egress: EgressProxy
    sidecars: Sidecars
    coordinator: Coordinator
    loop: ProactiveLoop
    warm: WarmContext
    pause: Pause
    budget: Budget
    placement: Placement = field(default_factory=Placement)
    draining: bool = False

    @property
    def state(self) -> str:
        """What the employee is doing, in a word."""
        if self.draining or self.pause.on:
            return "draining" if self.draining else "paused"
        return "working" if self.coordinator.in_flight else "idle"

    def reread(self) -> None:
        """What is kept warm may have been forgotten, or changed by others."""
        self.loop.reread()
        self.memories.reread()

    def configure(self, configuration: pb.EmployeeConfiguration) -> None:
        """Go on by this configuration; steps that run end by the one before."""
        profile, employee = configuration.profile, self.employee
        self.pause.set(paused=configuration.paused)
        self.budget.in_dollars, self.budget.in_tokens = configuration.limits_dollars, configuration.limits_tokens
        model = self._budgeted(employee.model, "model")
        self.capabilities.granted = frozenset(profile.capabilities or SHIPPED_CAPABILITIES)
        self.capabilities.policy = policy_of(profile, configuration.autonomy)
        rules, refusal = tuple(_rules(profile)), self.capabilities.policy.refusal
        self.egress.policy = EgressPolicy(tuple(map(rule_of, rules)))
        self.sidecars.configure(
            sidecar_pb2.SidecarConfiguration(
                egress=rules,
                download_refusal=refusal(Risk.DOWNLOAD),
                # Where the employee was sent to is known only here: the sidecar refuses every form to another host.
                submission_refusal=refusal(Risk.SUBMIT),
            )
        )
        self.placement = placement_of(profile)
        self.loop.times = _times(profile.loop)
        self.loop.model = None if employee.mind is None else self._budgeted(employee.mind, "mind")
        worker = Worker(
            pool=self.pool,
            identity=employee.identity,
            model=model,
            capabilities=self.capabilities,
            progress=Progress(employee.gateway.send),
            instructions=employee_instructions(configuration.name, profile),
            supervised=configuration.autonomy == control_pb2.AUTONOMY_SUPERVISED,
            draining=lambda: self.draining,
            caps=self.coordinator.caps,
            steers=profile.when_busy == "steer",
            clock=employee.clock,
        )
        analyzer = Analyzer(self.pool, employee.identity, self.memories, self.beliefs, model, self.warm)
        self.coordinator.when_busy = profile.when_busy or "enqueue"
        self.coordinator.caps.use(profile.rate_caps.sender_per_minute, profile.rate_caps.employee_per_minute)
        self.coordinator.use((SECURITY_FILTER, *analyzer.steps(), *worker.steps()), profile.max_in_work or MAX_IN_WORK)

    def _budgeted(self, model: Model, part: str) -> Model:
        """The model, each call to its provider held, priced and counted by itself."""

        def held(tried: Model) -> Model:
            prices = self.employee.model_prices
            return BudgetedModel(MeteredModel(tried, prices), prices, self.budget)

        return WatchedModel(model.over(held) if isinstance(model, RetryingModel) else held(model), part)


async def _welcome(frames: AsyncIterator[pb.ControlFrame]) -> pb.Welcome:
    async for frame in frames:
        if frame.WhichOneof("frame") == "welcome":
            return frame.welcome
    raise GatewayUnavailable("the gateway ended before it said welcome")


def _rules(profile: control_pb2.Profile) -> Iterator[control_pb2.EgressRule]:
    for written in profile.egress:
        try:
            rule_of(written)
        except ValueError as error:  # of a control plane that knows other rules: what is not understood is not allowed
            log.warning("an egress rule is left out: %s", error)
        else:
            yield written


@contextmanager
def _own_memory() -> Iterator[Callable[[], int]]:
    """A function that says how many bytes of this process are resident."""
    statm = os.open("/proc/self/statm", os.O_RDONLY)
    try:
        yield lambda: int(os.pread(statm, 100, 0).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    finally:
        os.close(statm)


def incoming(deliver: pb.Deliver) -> Incoming:
    """A delivered message as the pipeline takes it."""
    return Incoming(
        message_id=UUID(deliver.message_id),
        conversation_id=UUID(deliver.conversation_id),
        sender=deliver.sender,
        body=deliver.body,
        metadata=MessageToDict(deliver.metadata),
        trace_context=deliver.trace_context,
        received_at=deliver.received_at.ToDatetime(UTC),
        followed=deliver.channel == "api",  # nobody can follow a message of another channel while it is worked on
    )


def _times(settings: control_pb2.LoopSettings) -> LoopTimes:
    usual = LoopTimes()
    return LoopTimes(
        cycle=settings.cycle_seconds or usual.cycle,
        error_backoff=settings.error_backoff_seconds or usual.error_backoff,
        max_cycle=settings.max_cycle_seconds or usual.max_cycle,
        planning=settings.planning_seconds or usual.planning,
        replan=settings.replan_seconds or usual.replan,
        hours=_hours(settings),
    )


def _hours(settings: control_pb2.LoopSettings) -> ActiveHours | None:
    try:
        return ActiveHours.parse(settings.active_hours, settings.time_zone)
    except ImpossibleHours as error:  # of a control plane that knows other hours
        log.warning("nothing is begun unasked: %s", error)
        return None
