"""Every command of the README and the guides does what it says."""

import re
import shlex
from pathlib import Path

import pytest
from google.protobuf.json_format import Parse

from empla.v1 import control_pb2 as pb
from tests.e2e.system import System

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUIDES = [README, *((ROOT / "docs" / name).read_text() for name in ("using.md", "running.md"))]
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", "\n".join(GUIDES), re.DOTALL)).replace("\\\n", " ")
LINES = [shlex.split(line, comments=True) for line in BLOCKS.splitlines() if line.strip()]
EMPLA = [words[1:] for words in LINES if words[0] == "empla"]
ELSEWHERE = {"make", "empla", ".", "grpcurl"}


def test_no_command_is_left_out():
    assert {words[0] for words in LINES} == ELSEWHERE
    assert len(EMPLA) >= 5


@pytest.mark.parametrize("words", EMPLA, ids=" ".join)
def test_empla_commands_work_as_printed(system: System, words: list[str]):
    ended = system.run(*words)
    assert ended.returncode == 0, ended
    assert ended.stdout.strip() or words[0] == "chat"


def test_the_files_example_is_answered_from_the_file(system: System):
    (system.workspace() / "notes.md").unlink(missing_ok=True)
    questions = [words[2] for words in EMPLA if words[0] == "send"]
    answers = [system.json("send", "sales-ae", question)["reply"] for question in questions]
    assert "notes.md" in answers[1]
    assert re.search(r"\bopen deals?\b", answers[-1])
    assert "Acme" in answers[-1]
    assert "Brandt" not in answers[-1]


def test_make_has_what_is_named():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[1] for words in LINES if words[0] == "make"} | set(re.findall(r"`make ([a-z]+)`", README))
    assert named <= targets


def test_the_grpcurl_example_fits_the_contract():
    [words] = [words for words in LINES if words[0] == "grpcurl"]
    service, method = words[-1].split("/")
    request = Parse(words[words.index("-d") + 1], pb.SendMessageRequest())
    assert service == pb.DESCRIPTOR.services_by_name["ControlPlane"].full_name
    assert pb.DESCRIPTOR.services_by_name["ControlPlane"].methods_by_name[method].input_type == request.DESCRIPTOR


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            place = target.partition("#")[0]
            assert target.startswith("http") or not place or (page.parent / place).exists(), f"{page.name}: {target}"
