"""The rules that answer: one function for each kind of ask, reading and writing through the desk."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from agent.models.offline import wording
from agent.models.offline.accounting import remark, without_remarks
from agent.models.offline.arithmetic import ArithmeticRefused, calculate
from agent.models.offline.asks import Ask, Kind, ask
from agent.models.offline.calendar import about_days
from agent.models.offline.charts import Charts, chart_clauses
from agent.models.offline.clauses import Clause, clauses, spread
from agent.models.offline.commands import Command, asks_for_output, command_in, output_of, program, unmarked
from agent.models.offline.delegating import delegated, numbered, side_by_side
from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.files import file_names, leads_out, resolved, similar
from agent.models.offline.followups import goes_on, questions_before
from agent.models.offline.forgetting import forgotten
from agent.models.offline.looking import Looking
from agent.models.offline.numbers import amount
from agent.models.offline.remainders import is_request
from agent.models.offline.replies import (
    NO_KEY,
    closed,
    did_not_work,
    help_text,
    is_result,
    not_done,
    outside,
    reason,
    short_help,
    unable,
)
from agent.models.offline.research import Research
from agent.models.offline.running import Ran, ran
from agent.models.offline.scheduling import scheduled
from agent.models.offline.situation import Situation
from agent.models.offline.web.asked import web_clauses
from agent.models.offline.web.browsing import Browsing
from agent.models.offline.words import joined
from agent.models.offline.writing import Writing

_MOST_CLAUSES = 8
_OUTSIDE = "PATH_OUTSIDE_WORKSPACE"
"""How the workspace's error begins for a path that leads out of it."""

_READING: tuple[Kind, ...] = ("summarise", "read", "measure", "question", "replace")
_VAGUE = re.compile(
    r"\b(?:file|document|notes?|sheet|spreadsheet|report|summari[sz]e|list|read|open|show)\b", re.IGNORECASE
)
_WITH_PYTHON = re.compile(r"\b(?:use|using|with|in|by) python\b(?: to)?", re.IGNORECASE)
_THANKS = re.compile(r"\b(?:thank|thanks|thx|cheers|danke|merci|gracias)\b", re.IGNORECASE)


class Worker:
    """Answers one message, clause by clause."""

    def __init__(self, situation: Situation, desk: Desk) -> None:
        self._situation = situation
        self._desk = desk
        self._research = Research(situation, desk)
        self._looking = Looking(desk, self._research)
        self._writing = Writing(situation, desk, self._worked_out)
        self._charts = Charts(desk)
        self._browsing = Browsing(desk, self._research, situation.employee)
        self._answers: list[str] = []
        self._said: list[str] = []
        self._remarks: list[str] = []
        self._files: tuple[str, ...] = ()
        self._pointed: tuple[str, ...] = ()
        self._ran: Ran | None = None

    def answer(self) -> str:
        """The whole reply; raises `Wanted` while a tool's result is missing."""
        if command := command_in(self._situation.message):
            return self._run_command(command)
        if told := scheduled(self._situation.message, self._desk):
            return told
        if told := forgotten(self._situation.message, self._desk):
            return told
        if tasks := side_by_side(self._situation.message):
            return delegated(tasks, self._desk) if self._desk.has("delegate") else self._one_by_one(tasks)
        asked = clauses(self._situation.message)
        found, left = asked[:_MOST_CLAUSES], [not_done(clause.text) for clause in asked[_MOST_CLAUSES:]]
        self._pointed = self._pointed_at(found)
        if web := web_clauses(found):
            self._answers.append(self._browsing.answer(". ".join(found[one].text.rstrip(" .") for one in web)))
            found = [clause for position, clause in enumerate(found) if position not in web]
        chart = chart_clauses(found)
        for position, clause in enumerate(found):
            if position == chart.start and chart:
                self._answers.append(self._draw(found[chart.start : chart.stop]))
            elif position not in chart:
                self._answers.append(self._context(clause) if chart else self._one(clause))
        cut = [f"Of {path} I read only the first {size:,} characters." for path, size in self._desk.cut.items()]
        return "\n\n".join(dict.fromkeys(filter(None, [*self._answers, *self._remarks, *left, *cut]))) or unable()

    def _one_by_one(self, tasks: Sequence[str]) -> str:
        return numbered(Worker(replace(self._situation, message=task), self._desk).answer() for task in tasks)

    def _one(self, clause: Clause) -> str:
        if self._ran and asks_for_output(clause.text):
            return ""
        asked = self._resolved(self._asked(clause.text), clause)
        self._files = self._files if asked.kind == "compose" else asked.files or self._files
        try:
            return self._rule(asked.kind)(asked) or self._not_answered(asked, clause)
        except ToolFailed as error:
            return self._failed(asked, error)
        finally:
            self._said.append(clause.text)

    def _not_answered(self, asked: Ask, clause: Clause) -> str:
        """What to say of something that no rule knew what to do with; nothing of news that come with a question."""
        if asked.kind != "statement":
            return ""
        if is_request(clause.text):
            return not_done(clause.text) if self._answers else unable(not_done(clause.text).rstrip("."))
        if self._answers:
            return ""
        return f"Noted. If I should keep that, say “remember that …”. {NO_KEY}, so I can only work by fixed rules."

    def _context(self, clause: Clause) -> str:
        """A clause beside one that is drawn: perhaps it only says which file, as in "There is a sales.csv here"."""
        asked = self._resolved(self._asked(clause.text), clause)
        told = asked.kind in ("statement", "question", "pointer") and "?" not in clause.text
        if told and not wording.ASKING.match(asked.text):
            self._files = asked.files or self._files
            return ""
        return self._one(clause)

    def _draw(self, found: Sequence[Clause]) -> str:
        """A chart, or where there is no table to draw, what the clauses ask for otherwise."""
        text = ". ".join(clause.text.rstrip(" .") for clause in found)
        try:
            drawn = self._charts.answer(text, self._files or self._pointed or self._earlier_files())
        except ToolFailed as error:
            return did_not_work(error)
        return drawn or "\n\n".join(filter(None, map(self._one, found)))

    def _rule(self, kind: Kind) -> Callable[[Ask], str]:
        rules: dict[Kind, Callable[[Ask], str]] = {
            "write": self._writing.write, "append": self._writing.append, "replace": self._writing.replace,
            "move": self._writing.move, "delete": self._writing.delete, "remember": self._writing.remember,
            "recall": self._recall, "list_files": self._looking.list_files, "find": self._looking.find,
            "summarise": self._looking.summarise, "read": self._looking.read, "measure": self._looking.measure,
            "mentioned": self._looking.mentioned, "about": self._about, "compose": self._compose,
            "pointer": self._pointer, "smalltalk": self._smalltalk, "help": self._help, "statement": self._statement,
            "question": self._question, "run": self._run, "program": self._program,
        }  # fmt: skip
        return rules[kind]

    def _asked(self, text: str) -> Ask:
        """The ask, read with the workspace's listing where it may name a file without its extension."""
        asked = ask(text, self._situation.paths or ())
        if self._situation.paths is not None or asked.files or self._files or asked.kind not in (*_READING, "append"):
            return asked
        if not _VAGUE.search(text) or not self._desk.has("list_files"):
            return asked
        try:
            return ask(text, self._desk.paths())
        except ToolFailed:
            return asked

    def _resolved(self, asked: Ask, clause: Clause) -> Ask:
        """The ask with the files it means when it says "it" or only goes on about them."""
        if asked.files or asked.kind not in (*_READING, "append"):
            return asked
        files = self._files or self._pointed or (self._earlier_files() if _goes_on(clause) else ())
        return replace(asked, files=files, target=asked.target or (files[-1] if files else ""))

    def _pointed_at(self, found: Sequence[Clause]) -> tuple[str, ...]:
        """The files of a clause that only says where to look (Who owns Acme? See deals.csv), else the only ones named."""
        asks = [ask(clause.text, self._situation.paths or ()) for clause in found]
        pointed = [asked.files for asked in asks if asked.kind == "pointer"]
        read = {asked.files for asked in asks if asked.files and asked.kind in _READING}
        return next(iter(pointed), read.pop() if len(read) == 1 else ())

    def _earlier_files(self) -> tuple[str, ...]:
        known = self._situation.paths or ()
        named = (_files_left(text, known) for who, text in reversed(self._situation.earlier) if who == "user")
        return next((files for files in named if files), ())

    def _failed(self, asked: Ask, error: ToolFailed) -> str:
        """What to say when a tool failed: another spelling of the file is tried first."""
        if _OUTSIDE in str(error):
            out = [name for name in asked.files if leads_out(name)] or [*asked.files]
            return outside(out)
        if asked.kind not in _READING or not asked.files or not self._desk.has("read_file"):
            return did_not_work(error)
        known = self._looking.known()
        better = tuple(resolved(name, known) for name in asked.files)
        if better != asked.files:
            return self._retried(replace(asked, files=better, target=resolved(asked.target, known)))
        missing = [name for name in asked.files if name not in known]
        return "\n".join(_missing(name, known) for name in missing) or closed(
            f"I could not read {joined([*asked.files])}: {reason(error)}"
        )

    def _retried(self, asked: Ask) -> str:
        try:
            return self._rule(asked.kind)(asked)
        except ToolFailed as error:
            return closed(f"I could not read {joined([*asked.files])}: {reason(error)}")

    def _question(self, asked: Ask) -> str:
        if not asked.files and (result := about_days(asked.text) or _calculated(asked.text)):
            return result
        if share := wording.SHARE_OF.match(asked.text):
            return self._share_of(share["share"], share["rest"], asked.files) or self._unanswered(asked)
        if goes_on(asked.text) and (before := questions_before(self._said, self._situation.earlier)):
            return self._research.answer(asked.text, self._files_of(asked, before), before) or self._unanswered(asked)
        answers = [self._research.answer(text, asked.files) for text in spread(asked.text)]
        answer = "\n".join(filter(None, answers)) if all(answers) else self._research.answer(asked.text, asked.files)
        return answer or _calculated(asked.text) or self._looking.emptiness(asked) or self._unanswered(asked)

    def _files_of(self, asked: Ask, before: Sequence[str]) -> tuple[str, ...]:
        """The files of a question that goes on: those it names, those of its message, those that the first one meant."""
        known = self._situation.paths or ()
        named = (tuple(file_names(text, known)) for text in (asked.text, *reversed(before)))
        if found := next((files for files in named if files), ()):
            return found
        return asked.files if self._said or _goes_on(Clause(before[0], 0, len(before[0]))) else ()

    def _share_of(self, share: str, rest: str, files: Sequence[str]) -> str | None:
        """Such as 15% of the total value of the open deals."""
        whole = self._research.number(rest, files)
        part = amount(share)
        if whole is None or part is None:
            return None
        worked_out = whole.of(whole.value * part.value / 100).shown(2)
        return f"{share}% of {whole} is {worked_out}. {self._research.answer(rest, files)}"

    def _unanswered(self, asked: Ask) -> str:
        if asked.files:
            return f"I read {joined([*asked.files])} but found no answer to “{asked.text}” in it. {short_help()}"
        return f"I found nothing about that in my memory or the workspace files. {short_help()}"

    def _about(self, asked: Ask) -> str:
        return self._research.about(asked.body) or self._unanswered(asked)

    def _recall(self, asked: Ask) -> str:
        topic = asked.body or self._situation.message
        known = (self._research.remembered(topic), self._research.written(asked.body))
        return "\n".join(filter(None, known)) or f"I remember nothing about {asked.body or 'that'}."

    def _worked_out(self, text: str, files: tuple[str, ...]) -> str | None:
        """The answer to a description of content, such as "the total value of the open deals in pipeline.csv"."""
        if command := output_of(text):
            return self._printed(ran(self._desk, command))
        if not text and self._ran:
            return self._printed(self._ran)
        if not text:
            last = next(iter(reversed(self._answers)), None)
            return without_remarks(last) if last else None
        if summed := _worked_sum(text):
            return summed
        found = [one for clause in clauses(text) if (one := self._worked_out_one(clause.text, files))]
        if refused := next((one for one in found if not is_result(one)), ""):
            raise ToolFailed(refused)
        self._remarks += filter(None, map(remark, found))
        return "\n\n".join(map(without_remarks, found)) or None

    def _worked_out_one(self, text: str, files: tuple[str, ...]) -> str | None:
        inner = ask(text, files)
        kind: Kind = "question" if inner.kind == "statement" else inner.kind
        if kind not in ("summarise", "question", "measure", "list_files"):
            return None
        return self._rule(kind)(replace(inner, kind=kind, files=inner.files or files))

    def _pointer(self, asked: Ask) -> str:
        """A file only pointed at: context for the rest of the message, or when there is no rest, to be looked at."""
        alone = len(clauses(self._situation.message)) == 1
        return self._looking.summarise(asked) if alone else ""

    def _run(self, asked: Ask) -> str:
        """A command, a program by its name, or "it": the program that was spoken of last."""
        if command := command_in(asked.text):
            return self._run_command(command)
        if words := unmarked(asked.text):
            return f"I run only what stands between backquotes, so that I take no other words for it: run `{words}`"
        files = self._files if self._said else self._earlier_files()
        programs = [path for path in files if path.endswith((".py", ".sh"))]
        return self._run_command(Command(program(programs[-1]))) if programs else not_done(asked.text)

    def _run_command(self, command: Command) -> str:
        self._ran = ran(self._desk, command)
        return self._ran.told

    def _printed(self, done: Ran) -> str:
        """What is to be written down of it; raises `ToolFailed` where that is nothing."""
        if not done.output:
            raise ToolFailed(f"there is no output to write down. {done.told}")
        return done.output

    def _program(self, asked: Ask) -> str:
        if result := _calculated(_WITH_PYTHON.sub("", asked.text)):
            return result
        return unable(
            "Writing a program takes a language model. I can run one that you give me, as in: "
            'run `python3 -c "print(6*7)"`'
        )

    def _compose(self, asked: Ask) -> str:
        if asked.files and wording.CHANGING.match(asked.text):
            return unable("I changed nothing, as I did not understand what exactly shall be changed")
        return unable("That takes a language model")

    def _smalltalk(self, asked: Ask) -> str:
        return "You are welcome." if _THANKS.search(asked.text) else f"Hello! {help_text()}"

    def _help(self, asked: Ask) -> str:
        return (
            f"I am a digital employee. {help_text()} With ANTHROPIC_API_KEY or OPENAI_API_KEY set I can do much more."
        )

    def _statement(self, asked: Ask) -> str:
        """Something said without asking: perhaps a sum, a topic to look up, else only news."""
        if result := _calculated(asked.text):
            return result
        if (
            len(asked.text.split()) <= 6
            and not is_request(asked.text)
            and (answer := self._research.answer(asked.text, asked.files))
        ):
            return answer
        return ""


def _files_left(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The files that a message names, one that it moves by the name that it has since."""
    asked = ask(text, known)
    return (asked.body,) if asked.kind == "move" else tuple(file_names(text, known))


def _goes_on(clause: Clause) -> bool:
    """Whether a clause that names no file reads as if it went on about one."""
    return clause.refers_back() or len(clause.text.split()) < 6


def _worked_sum(text: str) -> str | None:
    """Only the result, for "the result of 6*7" that is to be written somewhere."""
    try:
        found = calculate(text)
    except ArithmeticRefused:
        return None
    return str(found.result) if found else None


def _calculated(text: str) -> str | None:
    try:
        found = calculate(text)
    except ArithmeticRefused as error:
        return f"I cannot work that out: {error}."
    return f"{found.shown} = {found.result}" if found else None


def _missing(name: str, known: Sequence[str]) -> str:
    close = similar(name, known)
    if close:
        return f"I could not find {name}. The nearest I have: {joined(close)}."
    return f"I could not find {name}. " + (
        f"The workspace has {joined([*known])}." if known else "The workspace has no files."
    )
