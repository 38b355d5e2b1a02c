"""Calls about messages: send, follow, look at and cancel them."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from controlplane.calls.arguments import given_id as _id
from controlplane.calls.arguments import page_size as _page_size
from controlplane.calls.calls import Calls
from controlplane.decisions import reason_of
from controlplane.employees import EmployeeRecord
from controlplane.errors import Away, Invalid
from controlplane.forwarding import is_forwarded
from controlplane.naming import calling_operator as _operator
from controlplane.receiver import Arrival, Stored
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc

MAX_WAIT_MS = 600_000
MAX_KEY = 200
_STUB = control_pb2_grpc.ControlPlaneStub

log = logging.getLogger(__name__)


class MessageCalls(Calls):
    """Messages, from the one who sends to the one who looks."""

    async def SendMessage(self, request: pb.SendMessageRequest, context: Any) -> pb.Message:
        if request.wait_ms > MAX_WAIT_MS:
            raise Invalid("the wait is too long", fields={"wait_ms": f"at most {MAX_WAIT_MS}"})
        record = await self._find(request.employee)
        stored = await self._store(record, request)
        end = time.monotonic() + (0 if await self._lies_idle(record, stored) else request.wait_ms / 1000)
        with self._parts.followers.follow(stored.message_id, stored.employee_id) as follower:
            async for _ in self._parts.telling.until_settled(stored.message_id, follower, end):
                pass
        return await self._parts.messages.get(stored.message_id, None)

    async def _lies_idle(self, record: EmployeeRecord, stored: Stored) -> bool:
        """Whether nobody is at work on a message before its employee is started: the sender shall know that now."""
        stopped = (
            self._parts.lifecycle.observed(record) == pb.OBSERVED_STATE_STOPPED and record.desired_state == "stopped"
        )
        return stopped and (await self._parts.messages.standing(stored.message_id)).state == "received"

    async def Converse(self, request: pb.ConverseRequest, context: Any) -> AsyncIterator[pb.ConverseEvent]:
        record, accepted = await self._find(request.employee), False
        if (address := self._parts.streams.address_of(record.employee_id)) and not is_forwarded(context):
            # One message, also when it is gone on with from here.
            request.idempotency_key = request.idempotency_key or new_id().hex
            try:
                there = self._parts.forwarding.streamed(address, _STUB, "Converse", request, context)
                async with aclosing(there):
                    async for event in there:
                        accepted = True
                        yield event
            except Away as error:
                log.warning("a conversation with %s goes on from here: %s", record.name, error)
            else:
                return
        async for event in self._converse(record, request):
            if not (accepted and event.HasField("accepted")):
                yield event

    async def _converse(self, record: EmployeeRecord, request: pb.ConverseRequest) -> AsyncIterator[pb.ConverseEvent]:
        message_id = new_id()
        with self._parts.followers.follow(message_id, record.employee_id) as follower:
            stored = await self._store(record, request, message_id)
            yield pb.ConverseEvent(
                accepted=pb.Accepted(
                    message_id=str(stored.message_id), conversation=stored.conversation, duplicate=stored.duplicate
                )
            )
            if stored.message_id == message_id:
                async for event in self._parts.telling.whole(stored.message_id, follower):
                    yield event
                return
        with self._parts.followers.follow(stored.message_id, stored.employee_id) as follower:
            async for event in self._parts.telling.whole(stored.message_id, follower):
                yield event

    async def GetMessage(self, request: pb.GetMessageRequest, context: Any) -> pb.Message:
        return await self._parts.messages.get(_id(request.message_id, "message_id"), _operator().tenant_id)

    async def ListMessages(self, request: pb.ListMessagesRequest, context: Any) -> pb.ListMessagesResponse:
        employee = (await self._find(request.employee)).employee_id if request.employee else None
        messages, following = await self._parts.messages.page(
            _operator().tenant_id,
            employee,
            state=request.state,
            size=_page_size(request.page_size),
            token=request.page_token,
        )
        return pb.ListMessagesResponse(messages=messages, next_page_token=following)

    async def CancelMessage(self, request: pb.CancelMessageRequest, context: Any) -> pb.Message:
        message_id, operator = _id(request.message_id, "message_id"), _operator()
        await self._parts.stopping.cancel(message_id, operator, reason_of(request.reason, "reason"))
        return await self._parts.messages.get(message_id, operator.tenant_id)

    async def _store(
        self,
        record: EmployeeRecord,
        request: pb.SendMessageRequest | pb.ConverseRequest,
        message_id: UUID | None = None,
    ) -> Stored:
        if len(request.idempotency_key) > MAX_KEY:
            raise Invalid("the key is too long", fields={"idempotency_key": f"at most {MAX_KEY} characters"})
        arrival = Arrival(
            tenant_id=record.tenant_id,
            channel_id=await self._parts.channels.api(record.tenant_id),
            employee_id=record.employee_id,
            event_id=request.idempotency_key or new_id().hex,
            sender=request.sender or _operator().name,
            text=request.text,
            conversation=request.conversation,
        )
        return await self._parts.receiver.store(arrival, message_id)
