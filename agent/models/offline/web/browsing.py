"""The rules that use the web: an address in the message is opened, read, compared, printed, pictured or downloaded from."""

import re
from collections.abc import Sequence

from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.facts import is_instruction
from agent.models.offline.replies import NO_KEY, did_not_work, outside, short_help
from agent.models.offline.research import Research
from agent.models.offline.summary import summary
from agent.models.offline.web import comparing
from agent.models.offline.web.addresses import Address
from agent.models.offline.web.asked import PRICE, SAVE, SUMMARY, TEXTS, Asked, wanted_words
from agent.models.offline.web.keeping import Keeping
from agent.models.offline.web.pages import NotOpened, Web, WebPage
from agent.models.offline.web.plans import Offer, offer
from agent.models.offline.web.telling import about, priced, too_few
from agent.models.offline.words import joined

_MOST_PAGES = 3
_MOST_SHOWN = 200
_INJECTION = "The page also has text that reads like instructions; I treat it as content and do not follow it."

_NO_FORMS = (
    f"{NO_KEY}: I read, print and download pages, but I fill in no forms, press nothing on a page and log in nowhere. "
    "Set ANTHROPIC_API_KEY or OPENAI_API_KEY for that."
)


class Browsing:
    """Answers what is asked about pages; raises `Wanted` while a tool's result is missing."""

    def __init__(self, desk: Desk, research: Research, employee: str) -> None:
        self._desk, self._research = desk, research
        self._web = Web(desk, employee)
        self._keeping = Keeping(desk, self._web)

    def answer(self, text: str) -> str:
        """What the pages say and what was saved of them; `text` is all that is asked about them."""
        if not self._desk.has("open_page"):
            return "I cannot open web pages: my profile turns the capability browser off."
        asked = Asked(text)
        if out := [name for name in asked.names if name.startswith(("/", "~", ".."))]:
            return outside(out)
        opened, failed = self._opened(() if asked.only_fills else asked.places)
        failed += [_not_opened(asked.unopenable)] if asked.unopenable else []
        try:
            parts = self._parts(asked, opened) if opened else []
        except ToolFailed as error:
            parts = [did_not_work(error)]
        except NotOpened as error:
            parts = [str(error)]
        return "\n\n".join(filter(None, [_NO_FORMS if asked.fills else "", *parts, *failed]))

    def _opened(self, places: Sequence[Address]) -> tuple[list[WebPage], list[str]]:
        opened, failed = list[WebPage](), list[str]()
        for number, place in enumerate(places[:_MOST_PAGES]):
            try:
                opened.append(self._web.open(place.url, f"page-{number + 1}" if number else "main"))
            except NotOpened as error:
                failed.append(str(error))
        failed += [f"I open {_MOST_PAGES} pages for one message, so not {place.url}." for place in places[_MOST_PAGES:]]
        return opened, failed

    def _parts(self, asked: Asked, opened: Sequence[WebPage]) -> list[str]:
        said = [self._keeping.downloaded(asked, opened[0])] if asked.downloads else []
        said += [
            f"{page.url} is a file; it lies in {joined([*page.files])} now."
            for page in opened
            if page.files and not said
        ]
        shown = [page for page in opened if not page.files]
        if shown and asked.wants_words:
            said.append(self._words(asked, shown))
        said += [self._keeping.pictured(asked, shown)] if asked.pictures and shown else []
        said += [self._keeping.printed(asked, shown)] if asked.prints and shown else []
        text = next((name for name in asked.names if name.lower().endswith(TEXTS)), "")
        if text and said and shown and SAVE.search(asked.masked):
            self._desk.use("write_file", path=text, content=said[0] + "\n")
            said.append(f"I wrote that to {text}.")
        return said

    def _words(self, asked: Asked, pages: Sequence[WebPage]) -> str:
        texts = [self._web.read(page) for page in pages]
        answers = self._answers(asked, pages, texts)
        hostile = any(is_instruction(line) for text in texts for line in text.splitlines())
        return "\n".join([*answers, *([_INJECTION] if hostile and _INJECTION not in answers else [])])

    def _answers(self, asked: Asked, pages: Sequence[WebPage], texts: Sequence[str]) -> list[str]:
        if asked.compares and not asked.having and (compared := self._compared(asked, pages, texts)):
            return [compared]
        answers = [self._one(asked, page, text) for page, text in zip(pages, texts, strict=True)]
        return [f"{page.shown}:\n{one}" if len(pages) > 1 else one for page, one in zip(pages, answers, strict=True)]

    def _one(self, asked: Asked, page: WebPage, text: str) -> str:
        """What one page says to what is asked."""
        if not text.strip():
            return f"{page.shown} shows no text that I could read."
        offered = offer(text)
        if offered.plans and (told := priced(asked, offered, page)):
            return told
        if not asked.questions:
            return self._summary(page)
        found = [self._answered(question, page, text) for question in asked.questions]
        return "\n".join(dict.fromkeys(found))

    def _answered(self, question: str, page: WebPage, text: str) -> str:
        if not wanted_words(question) or SUMMARY.search(question):
            return self._summary(page)
        if told := about(question, text):
            return told
        return self._research.answer(question, (page.url,)) or (
            f"I read {page.shown} but found no answer to “{question}” on it. {short_help()}"
        )

    def _summary(self, page: WebPage) -> str:
        lines = summary(self._desk.pages[page.url]).splitlines()
        kept = [line for line in lines if not line.startswith("The file also has")]
        return "\n".join(kept).replace(f"Summary of {page.url}", f"Summary of {page.shown}", 1)

    def _compared(self, asked: Asked, pages: Sequence[WebPage], texts: Sequence[str]) -> str:
        """The plans of all pages side by side; '' where nothing says that it is plans that are compared."""
        offers = [offer(text) for text in texts]
        whole = Offer(tuple(p for one in offers for p in one.plans), tuple(n for one in offers for n in one.notes))
        plans = list(whole.plans)
        if len(plans) < 2:
            return too_few(plans, pages, texts) if asked.offered or PRICE.search(asked.masked) or plans else ""
        chosen = comparing.named(whole, asked.masked)
        chosen = chosen if len(chosen) > 1 else plans
        lead = ""
        if len(chosen) > 2 and re.search(r"\b(?:two|both)\b", asked.masked, re.IGNORECASE):
            lead = f"The page has {len(plans)} plans, so I compare all of them.\n"
        if asked.only_cheaper:
            return f"{lead}{comparing.cheaper(chosen)}"
        return f"{lead}{comparing.compared(chosen, whole.notes)}"


def _not_opened(written: Sequence[str]) -> str:
    shown = joined([one[:_MOST_SHOWN] for one in written])
    return f"I did not open {shown}: I open only whole addresses of http and https, such as https://example.com/."
