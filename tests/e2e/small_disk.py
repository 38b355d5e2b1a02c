"""A small file system of its own that can be filled up, and a provider that redelivers until it is told that all is well."""

import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from tests.e2e.conftest import Inbox

_LEAST_STEP = 4096


class SmallDisk:
    """A file system at `place`, and the ballast in it: room that is allotted and never written, so it costs nothing."""

    def __init__(self, place: Path) -> None:
        self._place, self._ballast = place, place / "ballast"

    @property
    def free(self) -> int:
        """Bytes that anybody may still take."""
        found = os.statvfs(self._place)
        return found.f_bavail * found.f_frsize

    def leave(self, room: int) -> None:
        """Take all but `room` bytes; of what others give up meanwhile as well."""
        with self._ballast.open("ab") as file:
            step = max(self.free - room, 0)
            while step >= _LEAST_STEP:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                except OSError:
                    step //= 2
                else:
                    step = min(step, max(self.free - room, 0))

    @contextmanager
    def full(self) -> Iterator[None]:
        """For the block nobody finds any room, also not what others give up meanwhile."""
        over = threading.Event()

        def keep_full() -> None:
            while not over.wait(0.05):
                self.leave(0)

        self.leave(0)
        thread = threading.Thread(target=keep_full)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.relieve()

    def relieve(self) -> None:
        """Have room again."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(image: Path, place: Path, size: int) -> Iterator[SmallDisk]:
    """One of `size` bytes in the sparse file `image`, mounted at the directory `place` for the block."""
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop,discard", image, place], check=True)
    try:
        place.chmod(0o711)
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", place], check=True)


class Provider:
    """Delivers messages one after the other, each again and again until it is acknowledged."""

    def __init__(self, inbox: Inbox, text: str) -> None:
        self._inbox, self._text = inbox, text
        self._over, self._given_up = threading.Event(), threading.Event()
        self.answers: Counter[int] = Counter()
        """How often it was answered with each status."""
        self.acknowledged: list[str] = []
        """The ids of the messages."""

    @contextmanager
    def delivering(self) -> Iterator[None]:
        """For the block; what is not acknowledged at its end is so after it."""
        thread = threading.Thread(target=self._deliver)
        thread.start()
        try:
            yield
        except BaseException:
            self._given_up.set()
            raise
        finally:
            self._over.set()
            thread.join()

    def _deliver(self) -> None:
        while not self._over.is_set():
            event_id = uuid4().hex
            while not self._is_delivered(event_id):
                time.sleep(0.1)
                if self._given_up.is_set():
                    return

    def _is_delivered(self, event_id: str) -> bool:
        status, answer = self._inbox.deliver(self._text, event_id=event_id, conversation=event_id)
        self.answers[status] += 1
        if status == 202:
            self.acknowledged.append(str(answer["message_id"]))
        return status == 202
