"""Words of a text: split, reduced to stems, and rid of those that carry no meaning."""

import re


def word_set(text: str) -> frozenset[str]:
    """The words of `text`, which is how a long list of them stays readable."""
    return frozenset(text.split())


_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

STOP = word_set(
    """a an the this that these those there here it its it's they them their theirs he she his her we us our ours you
    your yours i me my mine is are was were be been being am do does did done have has had having will would shall
    should can could may might must of in on at to for from by with about into onto as and or but if then than so
    such what what's which who who's whom whose when where why how many much please tell give show list name let say
    says said know find out look looking see also just now still currently right all any each every some no not only
    ones one want need like get got let's i'd i'm i've we've we're you're there's that's me myself according based
    per file files document documents doc docs text listed lists contain contains containing contained mention
    mentions mentioned mentioning many there're don't doesn't didn't isn't aren't wasn't weren't haven't hasn't ok
    okay hi hello hey thanks thank kindly quickly using inside within total entire"""
)

_SMALL_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"
NUMBER_WORDS = {word: number for number, word in enumerate(_SMALL_NUMBERS.split())} | {
    "twenty": 20, "fifty": 50, "hundred": 100
}  # fmt: skip


_IRREGULAR_FORMS = """fell:fall rose:rise grew:grow went:go met:meet sold:sell bought:buy spent:spend left:leave took:take
    held:hold began:begin chose:choose sent:send wrote:write built:build ran:run gave:give came:come became:become led:lead
    children:child men:man women:woman"""
_IRREGULAR = {form: base for form, _, base in (pair.partition(":") for pair in _IRREGULAR_FORMS.split())}


def words(text: str) -> list[str]:
    """The words of `text`, lower case, in order; possessive endings dropped."""
    return [re.sub(r"['’]s$", "", word) for word in _WORD.findall(text.casefold())]


def stem(word: str) -> str:
    """`word` without its plural ending."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "zes", "sses")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def stems(text: str) -> list[str]:
    """The stem of each word of `text`."""
    return [stem(word) for word in words(text)]


def content(text: str) -> list[str]:
    """The stems of those words of `text` that carry meaning."""
    return [stem(word) for word in words(text) if word not in STOP]


def alike(one: str, other: str) -> bool:
    """Whether two stems are forms of one word, such as order and ordered."""
    if one == other:
        return True
    short, long = sorted((one, other), key=len)
    shared = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(short))
    if shared == len(short):
        return shared >= 4 and len(long) - shared <= 3
    return shared >= 6 and len(long) - shared <= 3


def contains_phrase(sentence: list[str], phrase: list[str]) -> bool:
    """Whether the words of `phrase` stand in `sentence` side by side."""
    span = len(phrase)
    return span > 0 and any(sentence[i : i + span] == phrase for i in range(len(sentence) - span + 1))


def joined(items: list[str], limit: int = 12) -> str:
    """`items` as English writes a series: a, b and c; those over `limit` as a number."""
    if len(items) > limit:
        return ", ".join(items[:limit]) + f" and {len(items) - limit} more"
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def plural(noun: str, count: int) -> str:
    """`noun` as it reads after the number `count`; takes either form."""
    if noun in ("people", "staff", "stock", "software"):
        return noun
    single = stem(noun)
    if count == 1:
        return single
    return noun if noun != single else _pluralised(single)


def _pluralised(noun: str) -> str:
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh")) else "s")
