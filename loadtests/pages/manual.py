"""A page of documentation: contents at both sides, sections with code and tables, and links between them."""

from loadtests.pages.markup import document, link, listed, slug

_CHAPTERS = {
    "Getting started": ("Installation", "First steps", "Configuration file", "Upgrading"),
    "Guides": ("Scheduling jobs", "Retries and back-off", "Secrets", "Logging", "Testing jobs", "Deployment"),
    "Reference": ("Command line", "Environment variables", "Job options", "Events", "Errors", "HTTP interface"),
    "More": ("Release notes", "Frequently asked questions", "Contributing", "Licence"),
}
_SECTIONS = ("When a job is tried again", "Fixed pauses", "Growing pauses", "Jitter", "Giving up", "Watching retries")
_TEXT = (
    "A job that raises an error is tried again until its attempts are used up. The first attempt counts, so attempts = 3 "
    "means one run and at most two more.",
    "Between two attempts the worker is free for other jobs. Nothing is kept in memory meanwhile; after a restart the "
    "pause goes on where it was.",
    "Errors that no further attempt can cure should be raised as Permanent. They end the job at once.",
)
_OPTIONS = (
    ("attempts", "integer", "3", "How often the job may run, the first time included."),
    ("pause", "duration", "10s", "How long to wait before the second attempt."),
    ("factor", "number", "2.0", "What each further pause is multiplied with."),
    ("longest", "duration", "1h", "No pause is longer than this."),
    ("jitter", "number", "0.1", "The share of a pause that is left to chance."),
    ("on_failure", "job", "none", "The job that is told when this one has given up."),
)


def page() -> str:
    """The page about retries."""
    sections = "".join(_section(number, name) for number, name in enumerate(_SECTIONS))
    chapters = "".join(f"<li><span>{name}</span>{listed(map(link, pages))}</li>" for name, pages in _CHAPTERS.items())
    contents = listed(link(name, f"#{slug(name)}") for name in _SECTIONS)
    return document(
        "Retries and back-off — Foreman documentation",
        '<header><a href="/">Foreman</a><form role="search"><input type="search" placeholder="Search the docs"></form>'
        '<select aria-label="Version"><option>4.2 (latest)</option><option>4.1</option><option>3.9</option></select>'
        f'<button aria-label="Switch to dark mode">◐</button></header><nav aria-label="Chapters"><ul>{chapters}</ul></nav>'
        f'<main><nav aria-label="Breadcrumb">{link("Docs")} / {link("Guides")} / Retries and back-off</nav>'
        f"<h1>Retries and back-off</h1>{sections}<p>{link('Edit this page')}</p><nav>{link('Scheduling jobs')} "
        f"{link('Secrets')}</nav></main><aside><h2>On this page</h2>{contents}</aside>",
    )


def _section(number: int, name: str) -> str:
    paragraphs = "".join(f"<p>{text}</p>" for text in _TEXT[number % 2 :])
    code = (
        f'<div><pre><code>@job(attempts={number + 2}, pause="{10 * (number + 1)}s")\n'
        "async def send_report(day: date) -> None:\n"
        '    report = await build(day)\n    await post(report, to="finance")\n</code></pre><button>Copy</button></div>'
    )
    table = _table() if number in (0, 2) else f"<p>See also {link('Job options')} and {link('Errors')}.</p>"
    anchor = slug(name)
    heading = f'<h2 id="{anchor}">{name}<a href="#{anchor}" aria-label="Link to {name}">#</a></h2>'
    return f"<section>{heading}{paragraphs}{code}{table}</section>"


def _table() -> str:
    rows = "".join(
        f"<tr><td><code>{name}</code></td><td>{kind}</td><td><code>{usual}</code></td><td>{text}</td></tr>"
        for name, kind, usual, text in _OPTIONS
    )
    heads = "<thead><tr><th>Option</th><th>Type</th><th>Default</th><th>Meaning</th></tr></thead>"
    return f"<table>{heads}<tbody>{rows}</tbody></table>"
