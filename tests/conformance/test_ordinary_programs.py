"""What programs commonly need works in the sandbox: a case that fails here is a bound too tight."""

import pytest

from tests.conformance.programs import printed, run
from workstation.interface import Compute

NEEDS = {
    "subprocesses": "import subprocess; print(subprocess.check_output(['echo', 'fine']).decode().strip())",
    "a pool of processes": """
        import multiprocessing
        def square(x):
            return x * x
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print("fine" if pool.map(square, range(5)) == [0, 1, 4, 9, 16] else "wrong")
    """,
    "a pool of threads": """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            print("fine" if sum(pool.map(len, ["x"] * 100)) == 100 else "wrong")
    """,
    "shared memory": """
        from multiprocessing.shared_memory import SharedMemory
        memory = SharedMemory(create=True, size=1 << 20)
        memory.buf[:4] = b"fine"
        other = SharedMemory(memory.name)
        print(bytes(other.buf[:4]).decode())
        other.close(), memory.close(), memory.unlink()
    """,
    "temporary files": """
        import tempfile
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write("fine")
            file.seek(0)
            print(file.read())
    """,
    "a database file": """
        import sqlite3
        database = sqlite3.connect("data.sqlite")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES ('fine')")
        database.commit()
        print(*database.execute("SELECT x FROM t").fetchone())
    """,
    "an event loop": """
        import asyncio
        async def main():
            process = await asyncio.create_subprocess_exec("echo", "fine", stdout=asyncio.subprocess.PIPE)
            print((await process.communicate())[0].decode().strip())
        asyncio.run(main())
    """,
    "a server on loopback": """
        import http.server, threading, urllib.request
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200), self.end_headers(), self.wfile.write(b"fine")
            def log_message(self, *_):
                pass
        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.handle_request).start()
        print(urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}").read().decode())
        server.server_close()
    """,
    "certificates": "import ssl; print('fine' if ssl.create_default_context().get_ca_certs() else 'none')",
    "randomness": "import os, secrets; print('fine' if len(os.urandom(9) + secrets.token_bytes(9)) == 18 else 'wrong')",
    "unicode": "import sys; print('fine' if sys.stdout.encoding == sys.getfilesystemencoding() == 'utf-8' else 'other')",
    "time zones": "import time; time.tzset(); print('fine' if time.localtime().tm_year > 2000 else 'wrong')",
    "signals of its own": """
        import os, signal
        signal.signal(signal.SIGUSR1, lambda *_: print("fine"))
        os.kill(os.getpid(), signal.SIGUSR1)
    """,
    "an alarm": "import signal\nsignal.signal(14, lambda *_: print('fine')); signal.setitimer(0, 0.01); signal.pause()",
    "locks": "import fcntl\nwith open('lock', 'w') as file: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB); print('fine')",
    "a name for its user": "import getpass; print('fine' if getpass.getuser() else 'none')",
}


@pytest.mark.parametrize("need", NEEDS)
async def test_python_has(compute: Compute, need: str) -> None:
    assert await printed(compute, NEEDS[need]) == "fine\n"


async def test_a_shell_has_its_tools(compute: Compute) -> None:
    script = """
        set -e
        printf 'b\\na\\nc\\n' > list; sort list | uniq | wc -l | tr -d ' '
        sed s/a/x/ list | grep x; find . -name list; tar cf all.tar list && tar tf all.tar; gzip list && gzip -t list.gz
        awk 'BEGIN { print 6 * 7 }'; date +%Y > /dev/null; mktemp > /dev/null; echo fine | tee copy
    """
    ran = await run(compute, "sh", "-c", script)
    assert ran.text.split() == ["3", "x", "./list", "list", "42", "fine"], ran.stderr


async def test_python_starts_a_package_of_the_workspace(compute: Compute) -> None:
    await run(compute, "sh", "-c", "mkdir -p mine; echo 'print(__name__)' > mine/__main__.py; echo > mine/__init__.py")
    assert (await run(compute, "python3", "-m", "mine")).text == "__main__\n"
