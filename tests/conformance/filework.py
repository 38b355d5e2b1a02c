"""The few calls on a FileSystem that many cases make."""

from collections.abc import AsyncIterator

from workstation.interface import FileSystem, SearchEnd, SearchHit, SearchQuery


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def text_of(files: FileSystem, path: str) -> str:
    return (await files.read_file(path)).data.decode()


async def streamed(files: FileSystem, path: str) -> bytes:
    return b"".join([piece async for piece in files.read(path)])


async def names_in(files: FileSystem, path: str = ".") -> list[str]:
    return [entry.name for entry in (await files.list(path)).entries]


async def searched(files: FileSystem, query: SearchQuery) -> tuple[list[SearchHit], SearchEnd]:
    *hits, end = [event async for event in files.search(query)]
    assert isinstance(end, SearchEnd)
    return [hit for hit in hits if isinstance(hit, SearchHit)], end
