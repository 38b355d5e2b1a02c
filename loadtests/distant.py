"""What a sidecar does for its employee once it is there: the workstation's work over a unix socket."""

from collections.abc import AsyncIterator

from loadtests.files import LARGE_MIB, PIECE, SMALL
from loadtests.report import Figure, percentile
from loadtests.sessions import CODE, opened, run
from loadtests.turns import take_turns
from workstation.remote.dialing import RemoteWorkstation


async def measure(workstation: RemoteWorkstation, reads: int, transfers: int) -> list[Figure]:
    """The figures; the workstation serves files and compute."""
    files, compute = workstation.files, workstation.compute
    await files.write("small", bytes(SMALL))
    session_id = await opened(compute)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(LARGE_MIB):
            yield PIECE

    async def read() -> None:
        async for _ in files.read("large"):
            pass

    small = {"read": lambda: files.read_file("small"), "run": lambda: run(compute, session_id)}
    large = {"write": lambda: files.write("large", pieces(), durable=False), "read": read}
    few, many = await take_turns(large, transfers), await take_turns(small, reads)
    await compute.close_session(session_id)
    return [
        Figure("workspace read of 4 KiB through a sidecar, p50", percentile(many["read"], 50), "ms", target=0.6),
        Figure("workspace read of 4 KiB through a sidecar, p99", percentile(many["read"], 99), "ms"),
        Figure(f"{CODE} in an open session of a sidecar, p50", percentile(many["run"], 50), "ms", target=1.5),
        Figure(f"{CODE} in an open session of a sidecar, p99", percentile(many["run"], 99), "ms"),
        *(
            Figure(
                f"workspace streamed {verb} of {LARGE_MIB} MiB through a sidecar",
                LARGE_MIB / percentile(few[verb], 50) * 1000,
                "MiB/s",
                target=500,
                better="high",
            )
            for verb in ("read", "write")
        ),
    ]
