"""Calls about reviews: what waits for a person."""

from typing import Any

from controlplane.calls.arguments import given_id as _id
from controlplane.calls.arguments import page_size as _page_size
from controlplane.calls.calls import Calls
from controlplane.decisions import decision_of
from controlplane.naming import calling_operator as _operator
from empla.v1 import control_pb2 as pb


class ReviewCalls(Calls):
    """List, show and decide them."""

    async def ListReviews(self, request: pb.ListReviewsRequest, context: Any) -> pb.ListReviewsResponse:
        employee = (await self._find(request.employee)).employee_id if request.employee else None
        reviews, following = await self._parts.messages.reviews(
            _operator().tenant_id,
            employee,
            ended=request.include_ended,
            size=_page_size(request.page_size),
            token=request.page_token,
        )
        return pb.ListReviewsResponse(reviews=reviews, next_page_token=following)

    async def GetReview(self, request: pb.GetReviewRequest, context: Any) -> pb.Review:
        return await self._parts.messages.review(_id(request.review_id, "review_id"), _operator().tenant_id)

    async def ResolveReview(self, request: pb.ResolveReviewRequest, context: Any) -> pb.Review:
        review_id, operator = _id(request.review_id, "review_id"), _operator()
        await self._parts.reviews.resolve(review_id, decision_of(request), operator)
        return await self._parts.messages.review(review_id, operator.tenant_id)
