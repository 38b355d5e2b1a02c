"""What the actions of the Compute capability take and give, as a model sees them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.capabilities.base import Action

FOREGROUND_SECONDS = 180
"""The most that a call may wait for its program: with the model's own calls it must fit into one step (300 s)."""
BACKGROUND_SECONDS = 600
"""How long a program may run unless more is asked for; what a Compute allows by default."""
LONG_SECONDS = 3600
"""The most that may be asked for; what runs for longer than usual is one for a sidecar."""
MOST_MEMORY_MB = 1 << 20
WAIT_SECONDS = 60
MAX_COMMAND = 32_000
MAX_CODE = 200_000
MAX_STDIN = 250_000
"""Characters: as UTF-8 they fit into one piece of a Compute's input."""
READ_BYTES = 16_000
MAX_LISTED = 30
_CALL_OVERHEAD = 60.0
"""Seconds for what comes before and after a program: a sidecar, building a jail, the end in grace, saving images."""
SESSION_SECONDS = FOREGROUND_SECONDS + 90.0
"""What a call of the Python session may take with its wait for other messages' runs, and still fit into one step."""
SESSION_OVERHEAD = 40.0
"""Of these, what is kept for before and after the run, as in `_CALL_OVERHEAD`: the rest is for its wait and itself."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


_COMMAND = Field(min_length=1, max_length=MAX_COMMAND, description="One line or more for `sh -c`.")
_CWD = Field(default=".", max_length=1000, description="Directory to run in, relative to the workspace.")
_MEMORY = Field(
    default=None, gt=0, le=MOST_MEMORY_MB, description="Memory it needs, if more than 1024; then it runs elsewhere."
)
_ID = Field(min_length=1, max_length=64, description="The id that the command was answered with.")


class RunCommand(_Closed):
    """A command to wait for."""

    command: str = Field(
        min_length=1,
        max_length=MAX_COMMAND,
        description="One line or more for `sh -c`.",
        examples=["wc -l *.csv", "python3 report.py > report.md && tail -n 5 report.md"],
    )
    cwd: str = _CWD
    timeout: float = Field(default=60, gt=0, le=FOREGROUND_SECONDS, description="Seconds; then it is stopped.")
    stdin: str | None = Field(default=None, max_length=MAX_STDIN, description="Text for its standard input.")
    memory_mb: int | None = _MEMORY
    repeatable: bool = Field(
        default=False,
        description="Running it twice does no harm: for want of memory it is run once more with the most.",
    )


class RanCommand(BaseModel):
    """How it ended; long output is cut in the middle, and says so."""

    id: str
    end: str
    exit_code: int | None
    stdout: str
    stderr: str


class StartCommand(_Closed):
    """A command that goes on by itself."""

    command: str = _COMMAND
    cwd: str = _CWD
    timeout: float = Field(
        default=BACKGROUND_SECONDS, gt=0, le=LONG_SECONDS, description="Seconds; then it is stopped."
    )
    memory_mb: int | None = _MEMORY


class CommandState(BaseModel):
    """A command and how it stands."""

    id: str
    command: str
    end: str
    exit_code: int | None
    stdout_bytes: int
    stderr_bytes: int


class CommandStates(BaseModel):
    """The latest first."""

    commands: list[CommandState]
    truncated: bool


class ReadOutput(_Closed):
    """Which output of which command, from which byte."""

    id: str = _ID
    stream: Literal["stdout", "stderr"] = "stdout"
    offset: int = Field(
        default=0, description="Byte to start at, such as next_offset of the answer before; -2000 is the last 2000."
    )
    limit: int = Field(default=READ_BYTES, ge=1, le=READ_BYTES)
    wait: float = Field(default=0, ge=0, le=WAIT_SECONDS, description="Seconds to wait for the command's end first.")


class OutputText(BaseModel):
    """Output, and how the command stands; `more` says whether there is output after `next_offset` already."""

    text: str
    next_offset: int
    more: bool
    end: str
    exit_code: int | None


class CommandId(_Closed):
    """Which command."""

    id: str = _ID


class ListCommands(_Closed):
    """Nothing to say."""


class RunPython(_Closed):
    """Code for the session."""

    code: str = Field(
        min_length=1,
        max_length=MAX_CODE,
        description="Python; the value of the last expression is shown.",
        examples=["import csv\nrows = list(csv.DictReader(open('sales.csv')))\nsum(float(r['amount']) for r in rows)"],
    )
    timeout: float = Field(default=60, gt=0, le=FOREGROUND_SECONDS, description="Seconds; then it is interrupted.")


class RanPython(BaseModel):
    """What the code printed and showed, the exception it ended with, and the images that were saved."""

    end: str
    output: str
    error: str
    files: list[str]


class RestartPython(_Closed):
    """What the next one needs."""

    memory_mb: int | None = _MEMORY


class Restarted(BaseModel):
    """What became of it."""

    end: str


ACTIONS = (
    Action(
        "run_command",
        "Run a shell command in a sandbox over the workspace (network: allowed hosts only) and wait for its end. "
        "A non-zero exit code is a normal result. For what takes longer than three minutes use start_command.",
        RunCommand,
        RanCommand,
        repeatable=False,
        deadline=FOREGROUND_SECONDS + 1.5 * _CALL_OVERHEAD,
    ),
    Action(
        "run_python",
        "Run Python in the sandbox, in one session that keeps its variables between runs. The working directory is the "
        "workspace. Figures that are shown are saved under charts/ and named in the result.",
        RunPython,
        RanPython,
        repeatable=False,
        deadline=SESSION_SECONDS,
    ),
    Action(
        "restart_python",
        "End the Python session with all its variables; the next run_python starts afresh.",
        RestartPython,
        Restarted,
        repeatable=True,
        deadline=SESSION_SECONDS,
    ),
    Action(
        "start_command",
        "Start a shell command in the sandbox and return at once with its id; it goes on for ten minutes, or for up to "
        "an hour if its timeout says so. Look at it with read_output.",
        StartCommand,
        CommandState,
        repeatable=False,
        deadline=_CALL_OVERHEAD,
    ),
    Action(
        "read_output",
        "Read what a command has written so far, from any byte, and how it stands. Output is kept for ten minutes after "
        "the command's end.",
        ReadOutput,
        OutputText,
        repeatable=True,
        deadline=WAIT_SECONDS + _CALL_OVERHEAD,
    ),
    Action(
        "stop_command",
        "Stop a command and all that it started.",
        CommandId,
        CommandState,
        repeatable=True,
        deadline=_CALL_OVERHEAD,
    ),
    Action(
        "list_commands",
        "List the commands that run or ended lately.",
        ListCommands,
        CommandStates,
        repeatable=True,
        deadline=_CALL_OVERHEAD,
    ),
)
