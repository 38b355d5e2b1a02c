"""A quota holds for what the FileSystem writes, and usage counts everything."""

from pathlib import Path

import pytest

from tests.conformance.conftest import OpenFiles
from tests.conformance.filework import names_in, pieces
from workstation.errors import QuotaExceeded
from workstation.interface import FileSystem, QuotaKind

MIB = 1 << 20

pytestmark = pytest.mark.usefixtures("nothing_blocks")


class TestQuota:
    async def test_without_a_quota_usage_is_counted(self, files: FileSystem) -> None:
        await files.write("a/file", b"x" * 10_000, parents=True)
        usage = await files.usage()
        assert (usage.entries, usage.quota, usage.quota_bytes, usage.truncated) == (2, QuotaKind.NONE, None, False)
        assert 10_000 <= usage.bytes <= 40_000
        assert usage.available_bytes > 0

    async def test_what_does_not_fit_is_refused_and_removing_makes_room(self, open_files: OpenFiles) -> None:
        async with open_files(quota_bytes=MIB) as files:
            assert (await files.usage()).quota is QuotaKind.ADVISORY
            await files.write("a", b"x" * 700_000)
            for call in (
                files.write("b", b"x" * 700_000),
                files.write("b", pieces(b"x" * 300_000, b"x" * 400_000)),
                files.append("a", b"x" * 700_000),
                files.copy("a", "b"),
            ):
                with pytest.raises(QuotaExceeded):
                    await call
            assert await names_in(files) == ["a"]
            await files.remove("a")
            await files.write("b", b"x" * 700_000)

    async def test_what_others_wrote_counts(self, open_files: OpenFiles, planted: Path) -> None:
        async with open_files(quota_bytes=MIB) as files:
            (planted / "jailed").write_bytes(b"x" * 900_000)
            with pytest.raises(QuotaExceeded):
                await files.write("a", b"x" * 300_000)
            (planted / "jailed").unlink()
            await files.write("a", b"x" * 300_000)
