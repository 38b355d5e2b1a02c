"""The front page of a newspaper: stories with pictures and teasers, sections, and the most read."""

from loadtests.pages.markup import document, link, listed, slug

STORIES = 40
_SECTIONS = ("World", "Politics", "Business", "Science", "Health", "Sport", "Culture", "Travel", "Weather", "Opinion")
_PLACES = ("Harbour city", "Northern valley", "Lake district", "Old capital", "Island council", "Border region")
_EVENTS = (
    "agrees on new ferry timetable",
    "counts the cost of a dry summer",
    "opens its first night market",
    "votes against the ring road",
    "finds a painting thought lost",
    "doubles its budget for schools",
    "waits for the trains to return",
)
_TEASERS = (
    "After eleven hours of talks both sides say that they can live with the result, though few call it a success.",
    "Farmers, hotel owners and the water board each have a plan. Only one of them can be paid for this year.",
    "What began as a joke among neighbours now draws visitors from three countries every weekend.",
    "The count was closer than any survey had foreseen, and the losing side has asked for a second look.",
    "It hung behind a cupboard for sixty years. The owner says that the frame always seemed too good for the wall.",
)
_AUTHORS = ("Mara Lind", "Tom Okafor", "Ines Duarte", "Paul Weiss", "Aiko Mori")


def page() -> str:
    """All of it on one page."""
    stories = "".join(_story(number) for number in range(STORIES))
    read = "".join(f"<li>{link(_headline(number * 3 + 1))}</li>" for number in range(10))
    return document(
        "The Daily Tide – News, analysis and opinion",
        '<a href="#main">Skip to content</a><header><a href="/"><img src="/images/logo.png" alt="The Daily Tide"></a>'
        '<form role="search"><input type="search" placeholder="Search the news"><button>Search</button></form>'
        f"{link('Subscribe')}{link('Sign in')}</header><nav>{listed(map(link, _SECTIONS))}</nav>"
        f'<main id="main"><h1>Today</h1>{stories}<button>More stories</button></main>'
        f"<aside><h2>Most read</h2><ol>{read}</ol><h2>Newsletter</h2><form><label>Your email "
        '<input type="email"></label><button>Sign up</button></form></aside>'
        f"<footer>{listed(map(link, ('About us', 'Contact', 'Careers', 'Privacy', 'Cookies')))}<p>© The Daily Tide</p>"
        "</footer>",
    )


def _headline(number: int) -> str:
    return f"{_PLACES[number % len(_PLACES)]} {_EVENTS[number % len(_EVENTS)]}"


def _story(number: int) -> str:
    headline = _headline(number)
    address = f"/2026/11/{slug(headline)}-{1000 + number}?ref=front&position={number}"
    section = _SECTIONS[number * 3 % len(_SECTIONS)]
    return (
        f'<article><a href="{address}"><figure><img src="/images/{number}.png" alt="" width="120" height="80"></figure></a>'
        f'<div><div class="kicker"><span>{link(section)}</span></div>'
        f'<h2><a href="{address}"><span>{headline}</span></a></h2>'
        f"<p>{_TEASERS[number % len(_TEASERS)]}</p><div><span>By</span> {link(_AUTHORS[number % len(_AUTHORS)])} "
        f'<time datetime="2026-11-25T{number % 24:02}:15">{1 + number % 23} hours ago</time>'
        f'<span>{number * 13 % 90} comments</span><button aria-label="Save for later"><svg width="12" height="12"></svg>'
        "</button></div></div></article>"
    )
