"""What each clause of a message asks for, told by its wording."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent.models.offline.clauses import is_courtesy
from agent.models.offline.files import file_names

Kind = Literal[
    "write", "append", "replace", "remember", "recall", "list_files", "find", "summarise", "read", "measure", "compose", "delete",
    "smalltalk", "help", "statement", "question",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing wanted. `files` are those named; `target` is what is written to, `body` what, or what is searched."""

    kind: Kind
    text: str
    files: tuple[str, ...] = ()
    target: str = ""
    body: str = ""


_LEAD = re.compile(
    r"^(?:(?:please|kindly|now|also|then|and|so|ok(?:ay)?|hey|just|first|next|finally|can you|could you|would you|will you|"
    r"i(?:['’]d| would) like (?:you )?to|i (?:want|need) (?:you )?to|you should|let['’]s|help me|go ahead and|"
    r"can i get you to|(?:would|do) you mind|may i ask you to)\b[\s,:]*)+",
    re.IGNORECASE,
)
_CONTENT = r"(?:the |this |a |an )?(?:following |exact )?(?P<form>text|contents?|lines?|words?|sentence|message|items?|note|list)?\b"
_WITH = (
    r"(?:with|containing|that (?:says|contains|reads|has|includes)|which (?:says|contains|reads)|saying|reading|"
    r"and (?:write|put)(?: in(?:to)? it| inside)?|to (?:say|contain|read)|holding|including|:)"
)
_FILE = "\x01"
"""Stands for the file's name while a clause is matched."""

_WRITE_FIRST = re.compile(
    rf"^(?P<verb>write|create|make|save|put|store|add|start|generate|prepare|draft|overwrite|replace|set up|fill)\b[^{_FILE}:\"“`]{{0,60}}?"
    rf"{_FILE}[\"'`”’]?\s*(?:file\b)?\s*,?\s*(?:(?:and )?{_WITH}\s*{_CONTENT}(?: in it| inside)?\s*[:,]?\s*|[:–-]\s+|\n)(?P<body>.+)$",
    re.IGNORECASE | re.DOTALL,
)
_WRITE_LAST = re.compile(
    rf"^(?P<verb>write|save|put|store|record|note|jot)(?: down)?\s*:?\s+(?P<body>.+?)\s+(?:to|in|into|as|under|inside|on)\s+"
    rf"(?:a |the |my |our |new |text |markdown |file |document |called |named )*[\"'`“]?{_FILE}[\"'`”’]?\W*$",
    re.IGNORECASE | re.DOTALL,
)
_WRITE_EMPTY = re.compile(
    rf"^(?:create|make|write|start)\s+(?:a |an |the |new |empty |blank |text |file |called |named )*[\"'`“]?{_FILE}",
    re.I,
)
_APPEND_LAST = re.compile(
    rf"^(?:append|add|put|write|attach|insert)\b(?P<form>(?: the| a| an| another| this| these)?(?: following)?(?: new)?"
    rf"(?: (?:lines?|text|items?|entry|entries|bullets?|tasks?|to-?dos?|sentence|notes?|rows?|words?)\b)?)\s*[:,]?\s+(?P<body>.+?)\s+"
    rf"(?:to|at|into|in|onto|on)\s+(?:the )?(?:(?:end|bottom) of )?(?:the |my |our )?(?:existing )?(?:file )?[\"'`“]?{_FILE}[\"'`”’]?(?: file)?\W*$",
    re.IGNORECASE | re.DOTALL,
)
_APPEND_FIRST = re.compile(
    rf"^(?:append|add|attach)(?P<form>(?: the| a| an)?(?: following)?(?: new)?(?: (?:lines?|text|items?|entry|bullets?|tasks?|rows?)\b)?)\s+"
    rf"(?:to|at|into|in)\s+(?:the )?(?:end of )?(?:the )?(?:file )?[\"'`“]?{_FILE}[\"'`”’]?(?: file)?\s*"
    rf"(?:[:,–-]|\bthat says\b|\bsaying\b|\bthe text\b|\bthe line\b|\bwith\b|\n)\s*(?:the )?(?:following )?(?:text|line)?:?\s*(?P<body>.+)$",
    re.IGNORECASE | re.DOTALL,
)
_REPLACE = re.compile(
    rf"^(?:replace|change|rename|update|correct|swap)\s+(?P<old>.+?)\s+(?:with|to|by|into)\s+(?P<new>.+?)\s+in\s+(?:the )?(?:file )?[\"'`“]?{_FILE}"
    rf"|^in\s+(?:the )?(?:file )?[\"'`“]?{_FILE}[\"'`”’]?,?\s*(?:replace|change|update|swap)\s+(?P<old2>.+?)\s+(?:with|to|by|into)\s+(?P<new2>.+?)\W*$",
    re.IGNORECASE | re.DOTALL,
)
_REMEMBER = re.compile(
    r"^(?:remember|keep in mind|don['’]t forget|do not forget|memori[sz]e|bear in mind|for the record|fyi|for your information|"
    r"make a (?:mental )?note|take note|please note|note|store in (?:your )?memory|commit to memory|learn)\b(?: this| the following| of)?[,:]?"
    r"(?:\s+that\b|\s*:)?\s+(?P<body>.+)$",
    re.IGNORECASE | re.DOTALL,
)
_RECALL = re.compile(
    r"^(?:(?:do|can) you (?:still )?(?:remember|recall)|what (?:do|did) you (?:remember|know|note)(?: about)?|recall|"
    r"what (?:did|have) i (?:tell|told|say|said|ask(?:ed)?)(?: you)?(?: to remember)?(?: about)?|remind me(?: of| about)?)\b\s*(?P<body>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_LIST_FILES = re.compile(
    r"\b(?:what|which|list|show|see|display|name|give|how many|are there any|any|count|enumerate)\b[^.?!]{0,40}?\b(?:files?|documents?|folders?)\b"
    r"(?!\s+(?:that|which|with|mention|contain|includ|refer|talk|about|say|named|called|where|match|list|has|have\s+(?:the|a)\b|does|do\s+\w+\s+(?:mention|contain)))"
    r"|^ls\b|\bwhat(?:['’]s| is| do (?:you|we|i) have) (?:in|on) (?:the|my|your|our) (?:workspace|folder|directory|drive|disk)\b",
    re.IGNORECASE,
)
_FIND = re.compile(
    r"\b(?:files?|documents?|notes|anything|everything|where|lines?)\b[^.?!]{0,30}?\b(?:mention(?:s|ed|ing)?|contain(?:s|ing)?|includ(?:e|es|ing)|"
    r"refer(?:s|ring)? to|talk(?:s|ing)? about|has the word|have the word|with the (?:word|text|phrase)|say(?:s|ing)?)\s+(?P<a>.+)$"
    r"|\b(?:search|grep|look|scan)\s+(?:(?:in |through |across |within )?(?:all |the |my |our )*(?:files?|workspace|documents?|notes)\s+)?for\s+(?P<b>.+)$"
    r"|\bsearch\s+(?:for\s+)?(?P<f>[\"'“`].+)$"
    r"|\bwhere\s+(?:is|are|do(?:es)?|did)\s+(?:we |you |i |it )?(?:mention\s+)?(?P<c>.+?)\s+(?:mentioned|referenced|written|appear)\b"
    r"|\b(?:which|what|find|list)\b[^.?!]{0,20}\bfiles?\b[^.?!]{0,15}\b(?:about|on|regarding|concerning|named|called|matching)\s+(?P<d>.+)$"
    r"|^find\s+(?:all\s+)?(?:mentions?|occurrences?|references?)\s+(?:of|to)\s+(?P<e>.+)$",
    re.IGNORECASE,
)
_SUMMARISE = re.compile(
    r"\bsummari[sz]e|\bsummary\b|\bsum up\b|\btl;?dr\b|\bgist\b|\boverview of\b|\bkey (?:points|takeaways)\b|\brecap\b|\bcondense\b|\bin short\b|"
    r"\bmain points\b|\bbrief me\b|\bhighlights of\b|\bwrap[- ]up of\b|\bshort version\b",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    rf"\bwhat(?:['’]s| is| does)\b[^?]*{_FILE}[^?]*\b(?:about|say|contain|cover)\b|\babout\s+{_FILE}|{_FILE}\W*(?:is )?about",
    re.IGNORECASE,
)
_READ = re.compile(
    rf"^(?:read|show|open|print|display|cat|view|get|fetch|quote|look at|output|dump)\b[^{_FILE}]*{_FILE}|"
    rf"\bwhat(?:['’]s| is| do we have)(?: written| there)? in(?:side)?\s+(?:the )?(?:file )?[\"'`“]?{_FILE}[\"'`”’]?\W*$|"
    rf"\b(?:contents?|text|full text) of\b[^{_FILE}]*{_FILE}",
    re.IGNORECASE,
)
_MEASURE = re.compile(
    r"\b(?:how many|number of|count(?: the)?)\s+(?P<unit>lines?|words?|characters?|letters?|headings?|sections?|paragraphs?|sentences?|bytes)\b",
    re.I,
)
_COMPOSE = re.compile(
    r"^(?:draft|compose|translate|rewrite|rephrase|proofread|brainstorm|design|code|implement|book|schedule|send|email|call|"
    r"write (?:me )?(?:a|an|some) (?:\w+ )?(?:email|mail|letter|poem|story|essay|reply|response|blog|post|proposal|report|song|speech|code|function|script))\b",
    re.IGNORECASE,
)
_DELETE = re.compile(rf"^(?:delete|remove|erase|rename|move|copy)\b[^{_FILE}]*{_FILE}", re.IGNORECASE)
_HELP = re.compile(
    r"\bwhat can you do\b|\bhow can you help\b|\bwho are you\b|\bwhat are you\b|^help\b|\byour (?:capabilities|skills)\b|\bwhat do you do\b|\bare you (?:a|an)\b",
    re.IGNORECASE,
)
_ASKING = re.compile(
    r"^(?:what|who|whom|whose|when|where|which|why|how|is|are|am|do|does|did|can|could|would|will|should|has|have|was|were|list|show|tell|give|name|"
    r"find|count|calculate|compute|check|compare|explain|look|work|figure|add|divide|multiply|sum|total|average|top|evaluate|solve|convert|get|let)\b",
    re.IGNORECASE,
)


def ask(clause: str, known: Sequence[str] = ()) -> Ask:
    """What `clause` asks for; `known` are the files of the workspace."""
    text = _LEAD.sub("", clause.strip())
    files = tuple(file_names(text, known))
    masked = _masked(text, files)
    return (
        _writing(text, masked, files)
        or _memory(text, files)
        or _about_files(text, masked, files)
        or _other(text, files)
    )


def _writing(text: str, masked: str, files: tuple[str, ...]) -> Ask | None:
    if not files or _FILE not in masked:
        return None
    if match := _REPLACE.match(masked):
        old, new = match["old"] or match["old2"], match["new"] or match["new2"]
        return Ask("replace", text, files, files[-1], f"{_quoted(old)}\x00{_quoted(new)}")
    for pattern in (_APPEND_FIRST, _APPEND_LAST):
        if (match := pattern.match(masked)) and not re.match(r"(?:write|put)\b(?!.*\bend of\b)", masked, re.IGNORECASE):
            return Ask(
                "append",
                text + (" item" if _is_item(match["form"]) else ""),
                files,
                _target(match, files, masked),
                _body(match, masked, files),
            )
    for pattern in (_WRITE_FIRST, _WRITE_LAST):
        if match := pattern.match(masked):
            return Ask("write", text, files, _target(match, files, masked), _body(match, masked, files))
    if _WRITE_EMPTY.match(masked):
        return Ask("write", text, files, files[0])
    return None


def _memory(text: str, files: tuple[str, ...]) -> Ask | None:
    if (match := _RECALL.match(text)) and not files:
        return Ask("recall", text, body=match["body"].strip(" ?."))
    if match := _REMEMBER.match(text):
        return Ask("remember", text, body=_quoted(match["body"].strip()))
    return None


def _about_files(text: str, masked: str, files: tuple[str, ...]) -> Ask | None:
    if _DELETE.match(masked):
        return Ask("delete", text, files, files[0])
    if _SUMMARISE.search(masked) or _ABOUT.search(masked):
        return Ask("summarise", text, files)
    if _COMPOSE.match(text):
        return Ask("compose", text, files)
    if files and (match := _MEASURE.search(masked)):
        return Ask("measure", text, files, body=match["unit"].casefold())
    if match := _FIND.search(masked):
        wanted = next(group for group in match.groups() if group)
        return Ask("find", text, files, body=_searched(wanted))
    if not files and _LIST_FILES.search(masked):
        return Ask("list_files", text)
    return Ask("read", text, files) if _READ.search(masked) else None


def _other(text: str, files: tuple[str, ...]) -> Ask:
    if _HELP.search(text) and not files:
        return Ask("help", text)
    if is_courtesy(text):
        return Ask("smalltalk", text)
    if files or "?" in text or _ASKING.match(text) or re.search(r"\d\s*[-+*/^%x×÷]", text):
        return Ask("question", text, files)
    return Ask("statement", text)


def _masked(text: str, files: Sequence[str]) -> str:
    """`text` with a stand-in for each file's name, so that patterns need not know how names look."""
    for name in sorted(files, key=len, reverse=True):
        for form in (name, name.rpartition("/")[2]):
            text = re.sub(rf"(?<![\w/]){re.escape(form)}(?![\w/])", _FILE, text, flags=re.IGNORECASE)
    return text


def _target(match: re.Match[str], files: tuple[str, ...], masked: str) -> str:
    """The file that is written: the one outside of what is to be written."""
    before = masked[: match.start("body")].count(_FILE)
    return files[0] if before else files[-1]


def _body(match: re.Match[str], masked: str, files: tuple[str, ...]) -> str:
    """What is to be written, with the names of other files back in it."""
    body = match["body"].strip()
    index = masked[: match.start("body")].count(_FILE)
    for name in files[index:]:
        body = body.replace(_FILE, name, 1)
    form = (match.groupdict().get("form") or "").casefold()
    return _lines(_quoted(body), form)


def _lines(body: str, form: str) -> str:
    """`a, b and c` as lines where lines or items were asked for."""
    if "\n" in body or not re.search(r"\b(?:lines|items|entries|tasks|bullets)\b", form):
        return body
    return "\n".join(part.strip(" \"'“”") for part in re.split(r",\s*(?:and\s+)?|\s+and\s+", body) if part.strip())


def _is_item(form: str) -> bool:
    return bool(re.search(r"\b(?:item|entry|bullet|task|to-?do)", form, re.IGNORECASE))


def _quoted(body: str) -> str:
    """What stands between quotes or a code fence when that is all there is; else the text without its full stop."""
    fenced = re.fullmatch(r"```[\w-]*\n(.*?)\n?```\W*", body, re.DOTALL)
    if fenced:
        return fenced[1]
    whole = re.fullmatch(r"[\"“'`](.+?)[\"”'`]\s*[.!]?", body, re.DOTALL)
    if whole and not re.search(r"[\"“”`]", whole[1]):
        return whole[1]
    return body[:-1] if body.endswith(".") and not body.endswith("..") and "\n" not in body else body


def _searched(wanted: str) -> str:
    """What to search for: the quoted part, else the words without question mark and place."""
    quoted = re.search(r"[\"“'`](.+?)[\"”'`]", wanted)
    if quoted:
        return quoted[1]
    plain = re.sub(
        r"\s+(?:in|across|within|through)\s+(?:all\s+)?(?:the|my|our|your|any)?\s*(?:files?|workspace|documents?|notes|folder)\b.*$",
        "",
        wanted,
        flags=re.I,
    )
    plain = re.sub(
        r"^(?:the (?:word|text|phrase|term|name)\s+|a |an |the )", "", plain.strip(" ?.!,"), flags=re.IGNORECASE
    )
    return plain.strip(" ?.!,")
