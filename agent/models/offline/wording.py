"""How people word what they ask for, as patterns. `FILE` stands where a file's name stood in the text."""

import re

FILE = "\x01"

_OPEN_QUOTE = "[\"'`“]?"
_CLOSE_QUOTE = "[\"'`”’]?"
_NAME = rf"{_OPEN_QUOTE}{FILE}{_CLOSE_QUOTE}"
_THE_FILE = rf"(?:the |my |our |your |existing |file |document |called |named )*{_NAME}(?: file)?"


def _words(text: str) -> str:
    """Any one of the phrases of `text`, which stand between bars or else between spaces."""
    phrases = text.split("|") if "|" in text else text.split()
    return "(?:" + "|".join(phrase.strip().replace("'", "['’]") for phrase in phrases) + ")"


def _pattern(*parts: str) -> re.Pattern[str]:
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


LEAD = _pattern(
    r"^(?:",
    _words(
        "please|kindly|now|also|then|and|so|ok(?:ay)?|hey|just|first|next|finally|can you|could you|would you|will you|"
        "i(?:'d| would) like (?:you )?to|i (?:want|need) (?:you )?to|you should|let's|help me(?: to)?|go ahead and|"
        "(?:would|do) you mind|may i ask you to|for me|"
        "(?:say|state|report|mention|include|including|indicate|specify|identify|determine|figure out|point out|with)"
        "(?= (?:how|what|which|who|whose|when|where|whether|"
        "the (?:[\\w-]+ )?(?:number|count|total|sum|average|names?|value)))"
    ),
    r"\b[\s,:]*)+",
)

# What stands between a file's name and what shall be written into it.
_SAYING = _words(
    "with|containing|that (?:says|contains|reads|has|includes)|which (?:says|contains|reads)|saying|reading|"
    "and (?:write|put)(?: in(?:to)? it| inside)?|to (?:say|contain|read)|holding|including|:"
)
_FORM = (
    r"(?:the |this |a |an |two |three |four |five )?(?:following |exact )?"
    r"(?P<form>text|contents?|lines?|words?|sentence|message|items?|notes?|entries|tasks)?\b"
)
_ENTRY = r"(?: (?:lines?|text|items?|entry|entries|bullets?|tasks?|to-?dos?|sentence|notes?|rows?|words?)\b)?"

WRITE_FIRST = _pattern(
    r"^(?P<verb>write|create|make|save|put|store|add|start|generate|prepare|draft|overwrite|replace|set up|fill)\b",
    rf"[^{FILE}:\"“`]{{0,60}}?{_NAME}\s*(?:file\b)?\s*,?\s*",
    rf"(?:(?:and )?{_SAYING}(?:\s+that\b)?\s*{_FORM}(?: in it| inside)?\s*[:,]?\s*|[:–-]\s+|\n)(?P<body>.+)$",
)
WRITE_LAST = _pattern(
    r"^(?P<verb>write|save|put|store|record|note|jot)(?: down)?\s*:?\s+",
    r"(?:(?:the|this|these)\s+(?:following\s+)?(?:text|words?|sentence|lines?|content|message|note|phrase)\s*:?\s+)?",
    r"(?P<body>.+?)\s+(?:to|in|into|as|under|inside|on)\s+",
    rf"(?:a |the |my |our |new |text |markdown |file |document |called |named )*{_NAME}\W*$",
)
WRITE_EMPTY = _pattern(
    r"^(?:create|make|write|start)\s+", rf"(?:a |an |the |new |empty |blank |text |file |called |named )*{_NAME}\W*$"
)
APPEND_LAST = _pattern(
    r"^(?:append|add|put|write|attach|insert)\b",
    rf"(?P<form>(?: the| a| an| another| this| these)?(?: following)?(?: new)?{_ENTRY})\s*[:,]?\s+(?P<body>.+?)\s+",
    rf"(?:to|at|into|in|onto|on)\s+(?:the )?(?:(?:end|bottom) of )?{_THE_FILE}\W*$",
)
APPEND_FIRST = _pattern(
    rf"^(?:append|add|attach)(?P<form>(?: the| a| an| this| these)?(?: following)?(?: new)?{_ENTRY})\s+",
    rf"(?:to|at|into|in)\s+(?:the )?(?:end of )?{_THE_FILE}\s*",
    r"(?:[:,–-]|\bthat says\b|\bsaying\b|\bthe (?:text|line)\b|\bwith\b|\n)\s*",
    r"(?:the )?(?:following )?(?:text|line)?:?\s*(?P<body>.+)$",
)
_CHANGE = _words("replace change update correct swap rename set mark flag switch move")
_TO = r"(?:with|to|by|into|as|=)"
_END = r"(?:[\s,]*(?:please|thanks|thank you|for me|now))?\W*$"
REPLACE = _pattern(
    rf"^(?P<verb>{_CHANGE})\s+(?P<old>[^{FILE}]+?)\s+{_TO}\s+(?P<new>[^{FILE}]+?)\s+in\s+{_THE_FILE}{_END}|",
    rf"^(?P<verb2>{_CHANGE})\s+(?P<old2>[^{FILE}]+?)\s+in\s+{_THE_FILE}\s+(?:from [\w -]+? )?",
    rf"{_TO}\s+(?P<new2>[^{FILE}]+?){_END}|",
    rf"^in\s+{_THE_FILE}\s*[,:]?\s*(?:please )?(?P<verb3>{_CHANGE})\s+(?P<old3>[^{FILE}]+?)\s+{_TO}\s+",
    rf"(?P<new3>[^{FILE}]+?){_END}|",
    rf"^(?P<verb4>mark|flag|set)\s+(?P<old4>[^{FILE}]+?)\s+(?P<new4>[\w-]+)\s+in\s+{_THE_FILE}{_END}",
)
CLOSE = _pattern(
    rf"^(?P<verb>close|reopen|complete|finish|tick|check off|untick|uncheck)\s+(?:off )?(?P<old>[^{FILE}]+?)\s+in\s+",
    rf"{_THE_FILE}{_END}",
)
CHANGE_THERE = _pattern(
    r"^(?P<verb>change|update|set|mark|flag|switch|move)\s+(?P<old>.+?)\s+(?:to|as)\s+(?P<new>[\w -]+?)",
    rf"(?:\s+(?:in it|there|in the (?:same )?file))?{_END}",
)
"""A change that names no file, which goes on about one."""

MOVE = _pattern(rf"^(?:rename|move)\s+{_THE_FILE}\s+(?:to|into|as)\s+(?P<to>{_THE_FILE}|[\w./-]+)\W*$")
DELETE = _pattern(rf"^(?:delete|remove|erase|trash)\s+{_THE_FILE}\W*$")
UNCHANGED = _pattern(
    r"^(?:delete|remove|erase|rename|move|copy|replace|change|update|correct|swap|close|reopen|edit|modify|",
    rf"mark\s[^{FILE}]+?\s(?:as|to)|set\s[^{FILE}]+?\s(?:as|to))\b[^{FILE}]*{FILE}",
)
"""Asks for a change that none of the patterns above can read."""

CHANGING = _pattern(r"^(?:delete|remove|erase|replace|change|update|correct|swap|close|reopen|edit|modify|mark|set)\b")

REMEMBER = _pattern(
    "^",
    _words(
        "remember|keep in mind|don't forget|do not forget|memori[sz]e|bear in mind|for the record|fyi|note|learn|"
        "for your information|make a (?:mental )?note|take note|please note|store in (?:your )?memory|commit to memory"
    ),
    r"\b(?: this| the following| of)?[,:]?(?:\s+that\b|\s*:)?\s+(?P<body>.+)$",
)
RECALL = _pattern(
    "^",
    _words(
        "(?:do|can) you (?:still )?(?:remember|recall)|what (?:do|did) you (?:remember|know|note)(?: about)?|recall|"
        "what (?:did|have) i (?:tell|told|say|said|ask(?:ed)?)(?: you)?(?: to remember)?(?: about)?|"
        "remind me (?:of|about)|remind me(?= (?:what|who|when|where|which|how|why|whether|that)\\b)"
    ),
    r"\b\s*(?P<body>.*)$",
)

_MENTION = (
    r"\b(?:mention(?:s|ed|ing)?|contain(?:s|ing)?|includ(?:e|es|ing)|refer(?:s|ring)? to|talk(?:s|ing)? about|"
    r"ha(?:s|ve) the word|with the (?:word|text|phrase)|say(?:s|ing)?)"
)
LIST_FILES = _pattern(
    r"\b(?:what|which|list|show|see|display|name|give|how many|any|count|"
    r"enumerate)\b[^.?!]{0,40}?\b(?:files?|documents?|folders?)\b",
    r"(?!\s+(?:that|which|with|mention|contain|includ|refer|talk|about|say|named|called|where|match|list|has|",
    r"have\s+(?:the|a)\b|does|do\s+\w+\s+(?:mention|contain)))|^ls\b|",
    r"\bwhat(?:['’]s| is| do (?:you|we|i) have) (?:in|on) (?:the|my|your|our) (?:workspace|folder|directory|drive|disk)\b",
)
FIND = _pattern(
    rf"\b(?:files?|documents?|notes|anything|everything|where|lines?)\b[^.?!]{{0,30}}?{_MENTION}\s+(?P<a>.+)$|",
    r"\b(?:search|grep|look|scan)\s+(?:(?:in |through |across |within )?(?:all |the |my |our )*",
    r"(?:files?|workspace|documents?|notes)\s+)?for\s+(?P<b>.+)$|",
    r"\bsearch\s+(?P<c>[\"'“`].+)$|",
    r"\b(?:is there|are there|do (?:we|i|you) have)\s+(?:a |an |any )?files?\s+(?:about|on|called|named|with)\s+(?P<g>.+)$|",
    r"\bwhere\s+(?:is|are|do(?:es)?|did)\s+(?:we |you |i |it )?(?:mention\s+)?(?P<d>.+?)\s+(?:mentioned|"
    r"referenced|written|appear)\b|",
    r"\b(?:which|what|find|list)\b[^.?!]{0,20}\bfiles?\b[^.?!]{0,15}\b(?:about|on|regarding|concerning|named|called|matching)\s+(?P<e>.+)$|",
    r"^find\s+(?:all\s+)?(?:mentions?|occurrences?|references?)\s+(?:of|to)\s+(?P<f>.+)$",
)
MENTIONED = _pattern(
    rf"^(?:do|does|did|is|are)\b[^{FILE}]*{_NAME}[^?]*?\b(?:mention|contain|include|say anything about|"
    rf"refer to)s?\s+(?P<a>.+?)\W*$|",
    rf"^(?:is|are)\s+(?P<b>.+?)\s+(?:mentioned|contained|included|listed)\s+in\s+{_THE_FILE}\W*$",
)
TELL_ABOUT = _pattern(
    r"^(?:tell (?:me|us)|what do (?:we|you) (?:know|have)|(?:is there |do you have )?anything|(?:give me |"
    r"any )?(?:info|information|details)|",
    r"what(?:['’]s| is) (?:the )?(?:news|info))\s+(?:more )?(?:about|on|regarding|concerning)\s+(?P<topic>.+?)\W*$",
)
SHARE_OF = _pattern(
    r"^(?:what(?:['’]s| is)|how much is|calculate|compute)?\s*(?P<share>\d[\d.,]*)\s?(?:%|"
    r"percent)\s+of\s+(?P<rest>(?:the|our|all)\b.+)$"
)
COMPARE = _pattern(rf"^compare\b[^{FILE}]*{FILE}.*{FILE}")
SEARCHED_PLACE = _pattern(
    r"\s+(?:in|across|within|through)\s+(?:all\s+)?(?:the|my|our|your|any)?\s*(?:files?|workspace|documents?|notes|folder)\b.*$"
)
SUMMARISE = _pattern(
    r"\b",
    _words(
        r"summari[sz]e|summary of|summary\b(?!\.)|sum up|tl;?dr|gist|overview of|key (?:points|takeaways)|recap|condense|"
        r"in short|main points|brief me|highlights of|wrap[- ]up of|short version"
    ),
)
ABOUT = _pattern(
    rf"\bwhat(?:['’]s| is| does)\b[^?]*{FILE}[^?]*\b(?:about|say|contain|cover)\b\W*$|\babout\s+{_NAME}|"
    rf"{FILE}\W*(?:is )?about"
)
READ = _pattern(
    rf"^{_words('read|show|open|print|display|cat|view|get|fetch|quote|look at|output|dump')}\b(?:\s+me)?\s+",
    rf"(?:(?:all|everything|what is|what's|the contents?|contents?|the text)\s+)?(?:of |in )?{_THE_FILE}",
    r"(?:\W*$|\s+(?:in|into|for|to|as|with|without|while|before|after|until|using|on|out|aloud|again)\b)|",
    rf"\bwhat(?:['’]s| is| do we have)(?: written| there)? in(?:side)?\s+{_THE_FILE}\W*$|",
    rf"\b(?:contents?|text|full text) of\s+{_THE_FILE}|",
    r"^(?:what(?:['’]s| is)(?: written)? in|read|open|print|show(?: me)?) (?:it|(?:that|this|the) file)\W*$",
)
MEASURE = _pattern(
    r"\b(?:how many|number of|count(?: the)?)\s+",
    r"(?P<unit>lines?|words?|characters?|letters?|headings?|sections?|paragraphs?|sentences?|bytes)\b",
)
COMPOSE = _pattern(
    r"^(?:",
    _words(
        "draft compose translate rewrite rephrase proofread brainstorm design code implement book schedule send email call"
    ),
    r"|write (?:me )?(?:a|an|some) (?:\w+ )?",
    _words(
        "email mail letter poem story essay reply response blog post proposal report song speech code function script"
    ),
    r")\b",
)
COMPOSED = _pattern(
    r"^(?:(?:a|an|some|the|your|two|three|\d+) )?(?:\w+ ){0,2}?(?:",
    r"(?:haikus?|poems?|limericks?|stor(?:y|ies)|essays?|jokes?|songs?|lyrics|novel|article|slogans?|",
    r"(?:e-?mail|letter|speech|blog post|report|proposal|script|program|function))",
    r"(?= (?:about|on|of|for|to|that|which|in|with)\b)|haiku|poem|limerick|joke)|"
    r"^(?:the )?first (?:\d+|two|three|five|ten|twenty|fifty|hundred) (?!lines?\b|words?\b|rows?\b)\w",
)
"""Content that has to be thought of, where it is no text between quotes."""

PROGRAM = _pattern(
    r"^(?:(?:please|can you|could you|would you|will you|now|then|i (?:want|need) you to)\b[\s,]*)*(?:",
    r"(?:use|using|in|with) (?:your |the )?python\b|",
    r"(?:compute|calculate|work out|generate|produce|make|create|print|plot|simulate|solve|write|code|implement|build|"
    r"develop)\b.*\b(?:with|in|by|using) (?:a )?python\b(?:\W*$| (?:code|script|program)\b)|",
    r"(?:write|create|make|code|implement|build|develop|give me|generate)\b.{0,30}?\b"
    r"(?:python|script|program|function|algorithm|app)\b",
    r")[^`]*$",
)
"""What would have to be programmed first."""

POINTER = _pattern(
    "^",
    _words(
        "see|check|look (?:at|in|into|up)|refer to|use|consult|(?:take|have) a look at|i (?:have|uploaded|added|put|saved)|"
        "here(?:'s| is)|there(?:'s| is)|(?:the )?\\w+ (?:is|are) in|it(?:'s| is)(?: all)? in|based on|according to|from|in"
    ),
    rf"\b[^?{FILE}]{{0,40}}{_NAME}\W*$",
)
HELP = _pattern(
    r"\bwhat can you do\b|\bhow can you help\b|\bwho are you\b|\bwhat are you\b|^help\b|\bwhat do you do\b|",
    r"\byour (?:capabilities|skills)\b|\bare you (?:a|an)\b",
)
ASKING = _pattern(
    "^",
    _words(
        """what who whom whose when where which why how is are am do does did can could would will should has have was were
        list show tell give name find count calculate compute check compare explain look work figure add divide multiply
        sum total average top evaluate solve convert get let"""
    ),
    r"\b",
)
ASKED_NOUN = _pattern(
    r"^(?:(?:the|a|an|their|its|and)\s+)*(?:[\w-]+\s+){0,2}?",
    _words("number count total sum average mean median lists? names share percentage values? worth"),
    r"\b(?:\s+(?:of|for|in|value|values|amount|worth)\b|\W*$)",
)
"""Something asked for by a noun alone: the number of open deals."""

SUM_OF_DIGITS = _pattern(r"\d\s*[-+*/^%x×÷]")
