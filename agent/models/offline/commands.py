"""What a message wants run: a command or Python that stands between backquotes, or a program that is in the workspace."""

import re
import shlex
from dataclasses import dataclass

_ASKING = r"^(?:(?:please|can you|could you|would you|will you|now|then|next|also|and|first|finally)\b[\s,]*)*"
_IN_SHELL = r"(?:use|in|with) (?:the |your |a )?(?:shell|terminal|bash|sandbox)(?: to)?[\s,]+"
_IN_PYTHON = r"(?P<lead>(?:use|in|with) (?:your |the )?python ?3?(?: to)?)[\s,]+"
_CALLED = (
    r"(?P<called>(?:(?:the|this|that|my|following|shell|bash|python ?3?|command|code|program|script|snippet|line|"
    r"in|with|using)\b[\s:,]*)*)"
)
_RUN = re.compile(
    rf"{_ASKING}(?:{_IN_SHELL}|{_IN_PYTHON})?(?:run|execute)\b:?\s*{_CALLED}"
    r"(?P<marks>`{1,3})(?:(?P<language>[a-z0-9]{1,10})[ \t]*\n)?(?P<command>[^`]{1,4000})(?P=marks)(?P<rest>[^`]{0,300})$",
    re.IGNORECASE,
)
_PROGRAM = re.compile(
    rf"{_ASKING}(?:{_IN_SHELL}|{_IN_PYTHON})?(?:run|execute)\s+{_CALLED}(?P<path>[\w./-]{{1,200}}\.(?:py|sh))\b"
    r"(?P<rest>[^`]{0,100})$",
    re.IGNORECASE,
)
_IT = re.compile(
    rf"{_ASKING}(?:run|execute)\s+(?:it|that|this|(?:the|this|that) (?:\w+ )?(?:script|program|file|code))"
    r"(?P<rest>[^`]{0,60})$",
    re.IGNORECASE,
)
_MEMORY = re.compile(r"\b(\d{1,7}(?:\.\d)?)\s*([MG])i?B\b", re.IGNORECASE)
_REPEATABLE = re.compile(
    r"\b(?:(?:may|can) be (?:run|done|tried) (?:again|twice)|safe to (?:repeat|run (?:again|twice))|repeatable)\b",
    re.IGNORECASE,
)
_FILLING = re.compile(
    r"\b(?:with|using|in|it|needs?|takes?|at least|up to|about|of|memory|ram|and|is|please|for me|thanks|thank you|the|your|"
    r"a|sandbox|shell|terminal|workspace|here|there|now|again|once|first|python ?3?)\b|\W",
    re.IGNORECASE,
)
_PYTHON = re.compile(r"\bpy(?:thon ?3?)?\b", re.IGNORECASE)
_UNMARKED = re.compile(
    rf"{_ASKING}(?:run|execute)(?:\s*:\s*|\s+(?:the |this )?(?:shell )?command:?\s+|"
    r"\s+(?=(?:ls|cat|echo|pwd|wc|grep|head|tail|date|uname|whoami|sort|df|du|ps|sh|bash|python3?|git|pip3?|curl)\b))"
    r"(?P<command>[^`\n]{1,200})$",
    re.IGNORECASE,
)
_OUTPUT = re.compile(
    r"^(?:please\s+|also\s+|then\s+)*(?:tell|show|give|report|return|print|say|let|send|post|what|display)\b.{0,40}?\b(?:"
    r"outputs?|results?|prints?|printed|says?|said|comes?(?: out| back)?|came out|happens?|happened|exit code|it shows)\b"
    r".{0,20}$",
    re.IGNORECASE,
)
_OUTPUT_OF = re.compile(
    r"^(?:the )?(?:outputs?|results?) of (?:running |executing )?(?:the command )?"
    r"(?P<marks>`{1,3})(?P<command>[^`]{1,4000})(?P=marks)$",
    re.IGNORECASE,
)
_INTERPRETERS = {"py": "python3", "sh": "sh"}


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be run, with the megabytes of memory that it needs if that was said; `python` is code, not a command."""

    text: str
    memory_mb: int | None = None
    repeatable: bool = False
    python: bool = False


def command_in(message: str) -> Command | None:
    """The command that a message wants run, if it wants that and nothing else."""
    text = message.strip()
    if (match := _RUN.match(text)) and (told := _needs(match["rest"])) is not None:
        python = any(_PYTHON.search(match[place] or "") for place in ("lead", "called", "language", "rest"))
        return Command(match["command"].strip(), *told, python=python)
    if (match := _PROGRAM.match(text)) and (told := _needs(match["rest"])) is not None:
        return Command(program(match["path"]), *told)
    return None


def program(path: str) -> str:
    """The command that runs the program at `path`."""
    return f"{_INTERPRETERS[path.rpartition('.')[2].casefold()]} {shlex.quote(path)}"


def runs_it(text: str) -> bool:
    """Whether `text` wants the program run that was spoken of before."""
    match = _IT.match(text.strip())
    return match is not None and _needs(match["rest"]) is not None


def unmarked(text: str) -> str:
    """The command that `text` seems to want run without marking where it begins and ends; "" for none."""
    match = _UNMARKED.match(text.strip())
    return match["command"].strip(" .") if match else ""


def output_of(text: str) -> Command | None:
    """The command whose output `text` names, such as the output of `ls`."""
    match = _OUTPUT_OF.match(text.strip())
    return Command(match["command"].strip()) if match else None


def asks_for_output(text: str) -> bool:
    """Whether `text`, after something was run, only asks for what that printed."""
    return bool(_OUTPUT.match(text.strip()))


def _needs(rest: str) -> tuple[int | None, bool] | None:
    """The memory and the leave to repeat that stand behind a command; None where there is more than that."""
    if _FILLING.sub("", _REPEATABLE.sub("", _MEMORY.sub("", rest))):
        return None
    needed = _MEMORY.search(rest)
    unit = 1024 if needed and needed[2].upper() == "G" else 1
    memory = round(float(needed[1]) * unit) if needed else None
    return memory or None, _REPEATABLE.search(rest) is not None
