"""SQL statements kept in `.sql` files, each with its name and a line that says what it guarantees.

A file looks like this::

    -- name: claim_messages
    -- Gives each message to one caller only; rows locked by others are skipped.
    UPDATE inbound_messages SET ...;

Bind the statements where a module starts, so that a missing one is found when it is imported::

    _QUERIES = load_queries("agent.pipeline", "queries.sql")
    CLAIM_MESSAGES = _QUERIES["claim_messages"]
"""

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files

from empla.store.errors import QueriesInvalid

_NAME = re.compile(r"^-- name:[ \t]*(?P<name>.*?)[ \t]*$", re.MULTILINE)


class Queries(Mapping[str, str]):
    """The statements of one file by name, read-only; also as attributes: `queries.claim_messages`."""

    def __init__(self, source: str, statements: Mapping[str, str]) -> None:
        self._source = source
        self._statements = dict(statements)

    def __getitem__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise QueriesInvalid(f"{self._source} has no statement named {name!r}") from None

    def __getattr__(self, name: str) -> str:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._statements

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


def load_queries(package: str, file: str) -> Queries:
    """Read the named statements of `file`, which lies in `package`; raises `QueriesInvalid` when it is malformed."""
    source = f"{package}/{file}"
    try:
        text = files(package).joinpath(file).read_text(encoding="utf-8")
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise QueriesInvalid(f"{source} cannot be read: {error}") from error
    return parse_queries(text, source)


def parse_queries(text: str, source: str) -> Queries:
    """Split `text` into its named statements; `source` is what errors call it. Raises `QueriesInvalid`."""
    heads = list(_NAME.finditer(text))
    preamble = text[: heads[0].start()] if heads else text
    if _without_comments(preamble):
        raise QueriesInvalid(f"{source} has a statement without a '-- name:' line")
    statements: dict[str, str] = {}
    for head, end in zip(heads, [*(h.start() for h in heads[1:]), len(text)], strict=True):
        name, body = head["name"], text[head.end() : end].strip()
        _check(source, name, body, statements)
        statements[name] = body
    return Queries(source, statements)


def _check(source: str, name: str, body: str, known: Mapping[str, str]) -> None:
    if not name.isidentifier() or name.startswith("_"):
        raise QueriesInvalid(f"{source}: {name!r} is not a name for a statement")
    if name in known:
        raise QueriesInvalid(f"{source} has two statements named {name!r}")
    if not re.match(r"--[ \t]*\w", body):
        raise QueriesInvalid(f"{source}: {name!r} needs a comment line that says what it guarantees")
    if not _without_comments(body):
        raise QueriesInvalid(f"{source}: {name!r} has no statement")


def _without_comments(text: str) -> str:
    return re.sub(r"--.*", "", text).strip()
