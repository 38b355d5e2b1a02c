"""What every provider's answer needs read with care: statuses, wait hints, tool arguments, text that must fit a schema."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import BaseModel, JsonValue, ValidationError

from agent.models.interface import (
    ModelError,
    ModelOutputCut,
    ModelOutputInvalid,
    ModelRateLimited,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    Usage,
)

_LONGEST_MESSAGE = 400


def failure(status: int, message: str, headers: Mapping[str, str]) -> ModelError:
    """The error that an HTTP `status` of a provider stands for."""
    said = f"the provider answered {status}: {message[:_LONGEST_MESSAGE]}"
    wait = _wait(headers)
    if status == 429:
        return ModelRateLimited(said, retry_after=wait)
    if status == 408:
        return ModelTimeout(said)
    if status == 409 or status >= 500:
        return ModelUnavailable(said, retry_after=wait)
    return ModelRefused(said)


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait by a Retry-After header, given as seconds or as an HTTP date; None when absent or unreadable."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until(value, now or datetime.now(UTC))
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def arguments(text: str, name: str) -> dict[str, JsonValue]:
    """The arguments of a call to the tool `name`; raises `ModelOutputInvalid` unless `text` is a JSON object."""
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise ModelOutputInvalid(f"the arguments of the call to {name} are not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelOutputInvalid(f"the arguments of the call to {name} are not a JSON object")
    return value


def fitting(text: str, output: type[BaseModel], *, cut: bool) -> str:
    """`text` as JSON of the type `output`; raises `ModelOutputInvalid`, or `ModelOutputCut`, when it is anything else."""
    try:
        return output.model_validate_json(_unfenced(text)).model_dump_json()
    except ValidationError as error:
        wrong = ModelOutputCut if cut else ModelOutputInvalid
        raise wrong(f"the answer does not fit {output.__name__}: {_brief(error)}") from error


@contextmanager
def billed(usage: Callable[[], Usage]) -> Iterator[None]:
    """An error of the block says what the provider has counted by then: that is paid for, whatever became of the answer."""
    try:
        yield
    except ModelError as error:
        if (counted := usage()) != Usage():
            error.usage = counted
        raise


def emptiest(output: type[BaseModel]) -> str:
    """The JSON of `output` with all its required fields as empty lists; raises ValidationError where that is not enough."""
    lists: dict[str, list[object]] = {name: [] for name, field in output.model_fields.items() if field.is_required()}
    return output.model_validate(lists).model_dump_json()


def _wait(headers: Mapping[str, str]) -> float | None:
    # OpenAI and Azure send the finer header as well.
    milliseconds = retry_after(headers.get("retry-after-ms"))
    return retry_after(headers.get("retry-after")) if milliseconds is None else milliseconds / 1000


def _brief(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'text'}: {e['msg']}" for e in error.errors()[:3])


def _unfenced(text: str) -> str:
    # Servers that ignore the schema tend to wrap their JSON into a code fence.
    stripped = text.strip()
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        return stripped.partition("\n")[2].removesuffix("```")
    return stripped


def _until(value: str, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - now).total_seconds())
