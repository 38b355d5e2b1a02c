import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.models.offline.classify import classify
from empla.classification import Category


@pytest.mark.parametrize(
    ("message", "category"),
    [
        ("How many deals are open?", "question"),
        ("Summarise notes.md and tell me how many open deals it lists", "request"),
        ("This is unacceptable, the app is broken again!", "complaint"),
        ("Can we schedule a meeting on Friday at 10?", "scheduling"),
        ("thanks a lot!", "smalltalk"),
        ("You won the lottery! Click here now, 100% free", "spam"),
        ("We won the Acme deal yesterday.", "information"),
        ("", "other"),
    ],
)
def test_categories(message: str, category: Category) -> None:
    assert classify(message).category == category


def test_one_suspicious_phrase_is_not_surely_spam() -> None:
    assert classify("Could you write a guest post about our launch?").confidence < 0.9


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "What is 17% of 2340? Also, who is the contact for Acme?",
            ["What is 17% of 2340?", "Also, who is the contact for Acme?"],
        ),
        (
            "Summarise notes.md and tell me how many open deals it lists",
            ["Summarise notes.md and tell me how many open deals it lists"],
        ),
        (
            "Hi Sam,\n\nplease list the open deals.\nWrite a file a.txt with milk.\n\nThanks, Ann",
            ["please list the open deals.", "Write a file a.txt with milk."],
        ),
        ("Read a.md. Then save the summary to b.md.", ["Read a.md. Then save the summary to b.md."]),
        ("compare the plans on http://a/b and save a PDF", ["compare the plans on http://a/b and save a PDF"]),
        ("What is on http://a/b? Save the page as x.pdf.", ["What is on http://a/b? Save the page as x.pdf."]),
        ("Total the sums in a.csv. Save a chart as a.png.", ["Total the sums in a.csv. Save a chart as a.png."]),
    ],
)
def test_intents_stand_alone(message: str, expected: list[str]) -> None:
    assert [message[intent.start : intent.end] for intent in classify(message).intents] == expected


@pytest.mark.parametrize(
    ("message", "language"),
    [
        ("How many deals are open?", "en"),
        ("Wie viele offene Deals haben wir?", "de"),
        ("Combien de clients avons-nous dans le fichier ?", "fr"),
        ("¿Cuántos clientes tenemos?", "es"),
        ("12345", "en"),
    ],
)
def test_languages(message: str, language: str) -> None:
    assert classify(message).language == language


@pytest.mark.parametrize(
    ("message", "priority", "sentiment"),
    [
        ("The server is down, please fix it ASAP", "urgent", "neutral"),
        ("No rush, but could you check this?", "low", "neutral"),
        ("I need this by tomorrow", "high", "neutral"),
        ("Great work, I love it", "normal", "positive"),
        ("This is terrible and wrong", "normal", "negative"),
    ],
)
def test_priority_and_mood(message: str, priority: str, sentiment: str) -> None:
    found = classify(message)
    assert (found.priority, found.sentiment) == (priority, sentiment)


@given(st.text(max_size=500))
def test_every_message_is_sorted_and_every_intent_lies_in_it(message: str) -> None:
    for intent in classify(message).intents:
        assert 0 <= intent.start <= intent.end <= len(message)
