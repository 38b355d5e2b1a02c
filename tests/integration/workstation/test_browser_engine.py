"""The engine with a real Chromium: what it may see and reach, how it dies, and that nothing of it is ever left."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser as Chromium
from playwright.async_api import Error, Page

from tests.conformance.host import jailed_processes, marked_processes, state_of
from workstation.egress import EgressPolicy, EgressProxy, EgressRule
from workstation.errors import SandboxUnavailable, WorkstationUnavailable
from workstation.local.browser.engine import Engine, default_limits
from workstation.local.browser.exchange import Exchange

PATIENCE = 30.0
CONNECTIONS = 4
"""How many more connections to the proxy Chromium may keep open one time than another."""
HOG = "() => { const kept = []; for (;;) kept.push(new Uint8Array(1 << 24).fill(1)) }"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A site on loopback."""
    application = web.Application()

    async def greet(request: web.Request) -> web.Response:
        return web.Response(text="<title>hello</title><input type=file>", content_type="text/html")

    async def attach(request: web.Request) -> web.Response:
        return web.Response(body=b"attached", headers={"Content-Disposition": "attachment; filename=a.bin"})

    application.add_routes([web.get("/", greet), web.get("/attachment", attach)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
async def proxy(port: int) -> AsyncIterator[EgressProxy]:
    async with EgressProxy(EgressPolicy((EgressRule("127.0.0.1", (port,), private=True),))) as opened:
        yield opened


@pytest.fixture(autouse=True)
def temporary(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where engines make their directories: no other test's, so that what is left can be told."""
    monkeypatch.setattr(tempfile, "tempdir", str(short_directory))
    return short_directory


@pytest.fixture
async def engine(proxy: EgressProxy, temporary: Path) -> AsyncIterator[Engine]:
    """An engine of which nothing is left at the end."""
    async with Engine(proxy) as opened:
        yield opened
    await nothing_left(temporary)


async def open_page(engine: Engine) -> Page:
    return await (await (await engine.chromium()).new_context()).new_page()


async def greeted(engine: Engine, port: int) -> bool:
    """Whether a page can be opened there."""
    page = await open_page(engine)
    await page.goto(f"http://127.0.0.1:{port}/")
    return await page.title() == "hello"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)


async def another(engine: Engine, chromium: Chromium) -> None:
    """Wait until the engine has heard that this one is dead, and gives another."""
    async with asyncio.timeout(PATIENCE):
        while await engine.chromium() is chromium:
            await asyncio.sleep(0.01)


async def nothing_left(temporary: Path) -> None:
    await until(lambda: not marked_processes(str(temporary)))  # the driver, the program that stands in, Chromium
    await until(lambda: not groups())
    assert list(temporary.iterdir()) == []


def groups() -> list[Path]:
    return [place for root in Path("/sys/fs/cgroup").iterdir() for place in root.rglob(f"empla-jail-{os.getpid()}-*")]


def commands(engine: Engine) -> dict[int, str]:
    """The processes in the jail, with their arguments."""
    found = {}
    for pid in jailed_processes(engine.exchange):
        try:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def main_process(engine: Engine) -> int:
    (found,) = (
        pid for pid, line in commands(engine).items() if "chrom" in line.split(" ")[0] and "--type=" not in line
    )
    return found


def driver_of(engine: Engine) -> int:
    (found,) = (pid for pid in marked_processes(str(engine.exchange.parent)) if "run-driver" in arguments(pid))
    return found


def stand_in_of(engine: Engine) -> int:
    """The program that the driver takes for Chromium."""
    (found,) = (pid for pid in marked_processes(f"{engine.exchange.parent}/") if "import _socket" in arguments(pid))
    return found


def nsjail_of(engine: Engine) -> int:
    keeper = next(pid for pid, line in commands(engine).items() if "import marshal" in line)
    return int(Path(f"/proc/{keeper}/stat").read_text().rpartition(") ")[2].split()[1])


def arguments(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def environ(pid: int) -> bytes:
    """As far as it may be seen: PID 1 of the jail and renderers hide theirs from all but root."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:
        return b""


def ended(pid: int) -> bool:
    return state_of(pid) in ("Z", "X", "")


def namespace(pid: int, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class TestSandbox:
    async def test_renderers_are_locked_up_twice(self, engine: Engine, port: int) -> None:
        assert await greeted(engine, port)
        assert engine.sandboxed
        main = main_process(engine)
        renderers = [pid for pid, line in commands(engine).items() if "--type=renderer" in line]
        assert renderers
        for pid in renderers:
            for kind in ("user", "pid", "net"):
                assert len({namespace(other, kind) for other in (pid, main, os.getpid())}) == 3, kind
            status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
            assert int(status["Seccomp_filters"]) >= 2

    async def test_nothing_is_root_and_nothing_without_a_sandbox(self, engine: Engine, port: int) -> None:
        assert await greeted(engine, port)
        for pid, line in commands(engine).items():
            assert os.stat(f"/proc/{pid}/task").st_uid != 0
            assert "--no-sandbox" not in line

    @pytest.mark.parametrize(
        "address", ["file:///etc/shadow", "file:///var/lib/", f"file://{Path(__file__).resolve()}"]
    )
    async def test_files_of_the_host_are_not_there(self, engine: Engine, address: str) -> None:
        page = await open_page(engine)
        with pytest.raises(Error, match=r"ERR_FILE_NOT_FOUND|ERR_ACCESS_DENIED|ERR_FAILED"):
            await page.goto(address)

    async def test_it_sees_no_accounts_and_processes_but_its_own(self, engine: Engine) -> None:
        page = await open_page(engine)
        await page.goto("file:///etc/passwd")
        assert (await page.inner_text("body")).split("\n")[1:] == [
            "employee:x:1000:1000:employee:/tmp:/bin/sh",
            "",
        ]
        await page.goto("file:///proc/")
        assert await page.get_by_text(f"{os.getpid()}/", exact=True).count() == 0

    async def test_no_secrets_of_ours_are_in_an_environment(
        self, engine: Engine, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EMPLA_API_KEY", "hunter2-in-the-environment")
        monkeypatch.setenv("NODE_OPTIONS", "--title=hunter2-in-the-environment")
        assert await greeted(engine, port)
        environments = [environment for pid in [*commands(engine), driver_of(engine)] if (environment := environ(pid))]
        assert len(environments) > 1
        assert not [environment for environment in environments if b"hunter2" in environment]

    async def test_uploads_are_read_and_downloads_written(self, engine: Engine, port: int) -> None:
        given = engine.exchange / "uploads" / "given.txt"
        given.write_text("given")
        page = await open_page(engine)
        await page.goto(f"http://127.0.0.1:{port}/")
        await page.set_input_files("input", given)
        assert await page.evaluate("document.querySelector('input').files[0].text()") == "given"
        async with page.expect_download() as downloading:
            await page.evaluate("location = '/attachment'")
        path = await (await downloading.value).path()
        assert path.parent == engine.exchange / "downloads"
        assert path.read_bytes() == b"attached"

    async def test_what_it_is_given_to_read_it_cannot_change(self, engine: Engine, port: int) -> None:
        assert await greeted(engine, port)
        flags = [
            line.split()[5]
            for line in Path(f"/proc/{main_process(engine)}/mountinfo").read_text().splitlines()
            if line.split()[4] == str(engine.exchange / "uploads")
        ]
        assert [flag.split(",")[0] for flag in flags] == ["ro"]


class TestWayOut:
    async def test_what_is_allowed_and_nothing_else(self, engine: Engine, port: int) -> None:
        page = await open_page(engine)
        answer = await page.goto(f"http://127.0.0.1:{port}/")
        assert answer is not None
        assert answer.status == 200
        answer = await page.goto("http://169.254.169.254/latest/meta-data/")
        assert answer is not None
        assert (answer.status, answer.headers["x-empla-egress"]) == (403, "refused")
        assert engine.door is not None
        assert [(refusal.client, refusal.host) for refusal in engine.door.refusals] == [("browser", "169.254.169.254")]

    async def test_without_a_proxy_it_reaches_nothing(self, port: int) -> None:
        async with Engine(None) as engine:
            page = await open_page(engine)
            assert engine.door is None
            for address in (f"http://127.0.0.1:{port}/", "http://169.254.169.254/", "https://example.com/"):
                with pytest.raises(Error, match="ERR_PROXY_CONNECTION_FAILED"):
                    await page.goto(address)
            tables = Path(f"/proc/{main_process(engine)}/net/dev").read_text().splitlines()[2:]
            assert [line.split(":")[0].strip() for line in tables] == ["lo"]


class TestDeath:
    async def replaced(self, engine: Engine, port: int, killed: Callable[[], int]) -> None:
        """Another Chromium takes the place of one that was killed, of which nothing is left."""
        assert await greeted(engine, port)
        old, before, chromium = set(commands(engine)), groups(), await engine.chromium()
        most = descriptors() + CONNECTIONS
        pid, main = killed(), main_process(engine)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: ended(pid) and ended(main))  # by itself
        await another(engine, chromium)
        assert await greeted(engine, port)
        await until(lambda: not old & set(commands(engine)))
        await until(lambda: len(groups()) == len(before) and not set(groups()) & set(before))
        await until(lambda: descriptors() <= most)
        assert len(list(engine.exchange.parent.iterdir())) == 2  # the exchange, and where the new one's helpers live

    async def test_of_chromium(self, engine: Engine, port: int) -> None:
        await self.replaced(engine, port, lambda: main_process(engine))

    async def test_of_the_driver(self, engine: Engine, port: int) -> None:
        await self.replaced(engine, port, lambda: driver_of(engine))

    async def test_of_the_jail(self, engine: Engine, port: int) -> None:
        await self.replaced(engine, port, lambda: nsjail_of(engine))

    async def test_of_what_forks_its_renderers(self, engine: Engine, port: int) -> None:
        def zygote() -> int:
            return next(pid for pid, line in commands(engine).items() if "--type=zygote" in line)

        await self.replaced(engine, port, zygote)

    async def test_of_the_program_that_stands_in(self, engine: Engine, port: int) -> None:
        await self.replaced(engine, port, lambda: stand_in_of(engine))

    async def test_a_driver_that_hangs_is_killed(
        self, engine: Engine, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workstation.local.browser.driver.STOP_SECONDS", 1.0)
        assert await greeted(engine, port)
        chromium, driver = await engine.chromium(), driver_of(engine)
        os.kill(driver, signal.SIGSTOP)
        os.kill(main_process(engine), signal.SIGKILL)
        await another(engine, chromium)
        assert await greeted(engine, port)
        assert ended(driver)

    async def test_one_that_hangs_is_discarded(self, engine: Engine, port: int) -> None:
        assert await greeted(engine, port)
        chromium = await engine.chromium()
        assert engine.lives(chromium)
        os.kill(main_process(engine), signal.SIGSTOP)
        assert engine.lives(chromium)
        await engine.discard(chromium)
        assert not engine.lives(chromium)
        assert await greeted(engine, port)
        await engine.discard(chromium)  # another took its place
        assert engine.lives(await engine.chromium())

    async def test_a_dead_driver_is_no_longer_taken_for_alive(self, engine: Engine, port: int) -> None:
        assert await greeted(engine, port)
        chromium = await engine.chromium()
        os.kill(driver_of(engine), signal.SIGKILL)
        await until(lambda: not engine.lives(chromium))

    async def test_of_a_page_for_want_of_memory(self, proxy: EgressProxy, port: int, temporary: Path) -> None:
        async with Engine(proxy, limits=replace(default_limits(), memory_bytes=600 << 20)) as engine:
            chromium, page, other = await engine.chromium(), await open_page(engine), await open_page(engine)
            await page.goto(f"http://127.0.0.1:{port}/")
            async with page.expect_event("crash"):
                with pytest.raises(Error, match="crashed"):
                    await page.evaluate(HOG)
            assert await other.evaluate("6 * 7") == 42
            assert await engine.chromium() is chromium
        await nothing_left(temporary)

    async def test_of_all_for_want_of_memory(self, proxy: EgressProxy, port: int, temporary: Path) -> None:
        limits = replace(default_limits(), memory_bytes=600 << 20, ends_together=True)
        async with Engine(proxy, limits=limits) as engine:
            chromium, page = await engine.chromium(), await open_page(engine)
            await page.goto(f"http://127.0.0.1:{port}/")
            with pytest.raises(Error):
                await page.evaluate(HOG)
            await another(engine, chromium)
            assert await greeted(engine, port)
        await nothing_left(temporary)


class TestOwner:
    async def test_nothing_outlives_an_owner_that_is_killed(self, temporary: Path) -> None:
        source = """
            import asyncio
            from workstation.local.browser.engine import Engine
            async def main():
                async with Engine(None) as engine:
                    page = await (await (await engine.chromium()).new_context()).new_page()
                    print("running", flush=True)
                    await asyncio.sleep(1000)
            asyncio.run(main())
        """
        lines = [line.removeprefix(" " * 12) for line in source.splitlines()]
        environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)}
        owner = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "\n".join(lines), stdout=subprocess.PIPE, env=environment
        )
        assert owner.stdout is not None
        async with asyncio.timeout(PATIENCE):
            assert await owner.stdout.readline() == b"running\n"
        (place,) = temporary.glob("empla-browser-*")
        jailed = jailed_processes(place / "exchange")
        assert len(jailed) > 3
        owner.kill()
        await owner.wait()
        await until(lambda: not marked_processes(str(place)))
        await until(lambda: not [pid for pid in jailed if Path(f"/proc/{pid}").exists()])
        os.utime(place)
        await self.swept(place)

    async def swept(self, place: Path) -> None:
        """What it left on the disk the next one removes, once it is sure that nobody makes it just now."""
        async with Engine(None) as young:
            assert place.exists()
            assert young.exchange.exists()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("workstation.local.browser.exchange._YOUNG_SECONDS", 0.0)
            mine, other = Exchange(), Exchange()
            mine.open()
            other.open()
            assert (place.exists(), mine.place.exists()) == (False, True)
            mine.close()
            other.close()

    @pytest.mark.timeout(300)
    async def test_many_rounds_leave_nothing(self, proxy: EgressProxy, port: int, temporary: Path) -> None:
        async def once() -> None:
            async with Engine(proxy) as engine:
                assert await greeted(engine, port)

        await once()
        before, tasks = descriptors(), len(asyncio.all_tasks())
        for _ in range(6):
            await once()
        assert (descriptors(), len(asyncio.all_tasks())) <= (before, tasks)
        await nothing_left(temporary)

    async def test_two_at_once(self, proxy: EgressProxy, port: int, temporary: Path) -> None:
        async with Engine(proxy) as one, Engine(proxy) as other:
            assert all(await asyncio.gather(greeted(one, port), greeted(other, port)))
            assert namespace(main_process_of(one), "net") != namespace(main_process_of(other), "net")
            chromium = await one.chromium()
            os.kill(main_process_of(one), signal.SIGKILL)
            assert await greeted(other, port)
            await another(one, chromium)
            assert await greeted(one, port)
        await nothing_left(temporary)

    async def test_many_who_ask_get_the_same(self, engine: Engine) -> None:
        assert len({id(found) for found in await asyncio.gather(*(engine.chromium() for _ in range(10)))}) == 1

    @pytest.mark.parametrize("seconds", [0.0, 0.02, 0.1, 0.2, 0.3, 0.4])
    async def test_a_start_that_is_cancelled(self, engine: Engine, port: int, temporary: Path, seconds: float) -> None:
        starting = asyncio.create_task(engine.chromium())
        await asyncio.sleep(seconds)
        starting.cancel()
        await asyncio.wait([starting])
        assert await greeted(engine, port)

    async def test_a_closed_one_starts_nothing(self, temporary: Path) -> None:
        engine = Engine(None)
        async with engine:
            asking = [asyncio.create_task(engine.chromium()) for _ in range(3)]
            await asyncio.sleep(0.1)
        answers = await asyncio.gather(*asking, engine.chromium(), return_exceptions=True)
        assert isinstance(answers[-1], WorkstationUnavailable)
        assert not [answer for answer in answers if isinstance(answer, Chromium) and answer.is_connected()]
        await nothing_left(temporary)

    async def test_it_rests_when_nobody_uses_it(self, engine: Engine, port: int) -> None:
        await engine.rest()
        chromium = await engine.chromium()
        context = await chromium.new_context()
        await engine.rest()
        assert chromium.is_connected()
        await context.close()
        await engine.rest()
        assert (jailed_processes(engine.exchange), engine.door) == ([], None)
        assert not chromium.is_connected()
        assert engine.exchange.is_dir()
        assert await greeted(engine, port)


class TestMissing:
    @pytest.fixture
    def pretend(self, temporary: Path) -> Callable[[str], Engine]:
        """An engine whose Chromium is a shell script."""

        def made(script: str) -> Engine:
            place = temporary / "there"
            place.mkdir(mode=0o755)
            (place / "chromium").write_text(f"#!/bin/sh\n{script}\n")
            (place / "chromium").chmod(0o755)
            return Engine(None, executable=place / "chromium")

        return made

    async def refused(self, engine: Engine) -> str:
        async with engine:
            for _ in range(2):  # and again, as nothing has changed
                with pytest.raises(SandboxUnavailable) as caught:
                    await engine.chromium()
            assert jailed_processes(engine.exchange) == []
        return str(caught.value)

    async def test_a_library(self, pretend: Callable[[str], Engine]) -> None:
        said = "chromium: error while loading shared libraries: libnss3.so: cannot open shared object file"
        assert "needs the library libnss3.so" in await self.refused(pretend(f"echo '{said}' >&2; exit 127"))

    async def test_its_own_sandbox(self, pretend: Callable[[str], Engine]) -> None:
        said = "[1:1:FATAL:zygote_host_impl_linux.cc(132)] No usable sandbox! If you are running on Ubuntu 23.10+"
        assert "own sandbox does not work" in await self.refused(pretend(f"echo '{said}' >&2; kill -ABRT $$"))

    async def test_the_program(self, temporary: Path) -> None:
        said = await self.refused(Engine(None, executable=temporary / "nowhere" / "chromium"))
        assert "chromium" in said

    async def test_one_that_says_nothing(self, pretend: Callable[[str], Engine]) -> None:
        assert "does not start" in await self.refused(pretend("exit 3"))

    async def test_one_that_hangs(self, pretend: Callable[[str], Engine], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workstation.local.browser.engine.START_SECONDS", 2.0)
        assert "did not start within 2 s" in await self.refused(pretend("sleep 1000"))

    async def test_it_is_not_started_without_a_sandbox(self, pretend: Callable[[str], Engine]) -> None:
        said = await self.refused(pretend('echo "$@" >&2; exit 1'))
        assert "no-sandbox" not in said

    @pytest.mark.parametrize("node", ["exit 1", "exec sleep 1000", "exec cat"])
    async def test_a_driver(self, node: str, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workstation.local.browser.engine.START_SECONDS", 1.0)
        monkeypatch.setattr("workstation.local.browser.driver.STOP_SECONDS", 0.5)
        (temporary / "node").write_text(f"#!/bin/sh\n{node}\n")
        (temporary / "node").chmod(0o755)
        monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", str(temporary / "node"))
        said = await self.refused(Engine(None))
        assert "driver does not start" in said or "did not start within" in said
        (temporary / "node").unlink()
        await nothing_left(temporary)

    async def test_too_many_processes(self, proxy: EgressProxy) -> None:
        async with Engine(proxy, limits=replace(default_limits(), processes=8)) as engine:
            with pytest.raises(SandboxUnavailable):
                await engine.chromium()


def main_process_of(engine: Engine) -> int:
    """With root's tests two engines of one process share an account: the one that sees this exchange is meant."""
    mine = str(engine.exchange)
    (found,) = (
        pid
        for pid, line in commands(engine).items()
        if "--type=" not in line
        and "chrom" in line.split(" ")[0]
        and mine in Path(f"/proc/{pid}/mountinfo").read_text()
    )
    return found
