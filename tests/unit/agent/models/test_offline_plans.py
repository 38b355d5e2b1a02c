"""The plans of pages in the layouts that pages have."""

import cProfile

import pytest

from agent.models.offline.web.comparing import compared
from agent.models.offline.web.plans import offer

LAYOUTS = {
    "cards below headings": (
        "# Pricing\n\n## Starter\n\n**$9**/month\n\n- 3 projects\n\n[Choose](/buy)\n\n## Pro\n\n$29/month\n\n- SSO\n\n"
        "## FAQ\n\n### May I stop?\n\nYou get $5 back.",
        {"Starter": ["$9/month"], "Pro": ["$29/month"]},
    ),
    "a column for each": (
        "|  | Basic | Pro |\n| --- | --- | --- |\n| Price | €10 | €20 |\n| Users | 1 | 5 |",
        {"Basic": ["€10"], "Pro": ["€20"]},
    ),
    "a row for each": (
        "| Plan | Price | Users |\n| --- | --- | --- |\n| Basic | 9,99 € | 1 |\n| Pro | 1.200,00 € | 5 |",
        {"Basic": ["9,99 €"], "Pro": ["1.200,00 €"]},
    ),
    "rows with monthly and yearly prices": (
        "| Plan | Monthly | Yearly |\n| --- | --- | --- |\n| Basic | $9 | $90 |\n| Pro | $29 | $290 |",
        {"Basic": ["$9", "$90"], "Pro": ["$29", "$290"]},
    ),
    "columns below the word plan": (
        "| Plan | Basic | Pro |\n|---|---|---|\n| Price | $9/mo | $19/mo |\n| Storage | 10 GB | 1 TB |",
        {"Basic": ["$9/mo"], "Pro": ["$19/mo"]},
    ),
    "prices in the header": (
        "| Feature | Basic ($9/mo) | Pro ($29/mo) |\n|---|---|---|\n| SSO | no | yes |",
        {"Basic": ["$9/mo"], "Pro": ["$29/mo"]},
    ),
    "names and texts below": (
        "Basic\n\n$9 a month, 3 users\n\nPro\n\n$29 a month",
        {"Basic": ["$9 a month"], "Pro": ["$29 a month"]},
    ),
    "cards without headings": (
        "# Simple pricing\n\nStarter\n\nFor individuals\n\n$9\n\n/month\n\n- a\n\n"
        "Pro\n\nFor teams\n\n~~$39~~ $29\n\n/month\n\n- b",
        {"Starter": ["$9 /month"], "Pro": ["$29 /month"]},
    ),
    "lines of a list": (
        "- **Basic**: $9 per month, 3 projects, email support\n- **Pro** – $29/month (billed yearly)",
        {"Basic": ["$9 per month"], "Pro": ["$29/month"]},
    ),
    "nested headings, by month and by year": (
        "# Plans\n\n## Monthly\n\n### Basic\n\n#### $9\n\n#### Features\n\n- a\n\n### Pro\n\n#### $29\n\n- b\n\n"
        "## Yearly\n\n### Basic\n\n#### $90\n\n### Pro\n\n#### $290",
        {"Basic": ["$9", "$90"], "Pro": ["$29", "$290"]},
    ),
    "sentences": (
        "# Prices\n\nThe Basic plan costs $9 per month and the Pro plan costs $29 per month. Pro has SSO.",
        {"Basic": ["$9 per month"], "Pro": ["$29 per month"]},
    ),
    "German": (
        "## Basis\n\n9,99 € pro Monat\n\n- 1 Nutzer\n\n## Firma\n\nAuf Anfrage",
        {"Basis": ["9,99 € pro Monat"], "Firma": ["Auf Anfrage"]},
    ),
    "free, and a footnote": (
        "## Free\n\nFree\n\n- 1 user\n\n## Team\n\n$12 per user/month*\n\n- SSO\n\n\\* billed annually",
        {"Free": ["Free"], "Team": ["$12 per user/month"]},
    ),
    "Swiss": (
        "## Klein\n\nCHF 10.–/Monat\n\n## Gross\n\nCHF 1'250.50/Monat",
        {"Klein": ["CHF 10.–/Monat"], "Gross": ["CHF 1'250.50/Monat"]},
    ),
    "prices above headings": (
        "$10/month\n\n### Silver\n\n- x\n\n$20/month\n\n### Gold\n\n- y",
        {"Silver": ["$10/month"], "Gold": ["$20/month"]},
    ),
    "Japanese": ("## ライト\n\n￥980/月\n\n## プロ\n\n￥2,980/月", {"ライト": ["￥980/月"], "プロ": ["￥2,980/月"]}),
    "Swedish": (
        "## Liten\n\n99 kr/mån\n\n## Stor\n\n199 kr/mån",
        {"Liten": ["99 kr/mån"], "Stor": ["199 kr/mån"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_plans_and_prices_are_found_in_every_layout(layout: str):
    markdown, expected = LAYOUTS[layout]
    found = {plan.name: [price.written for price in plan.prices] for plan in offer(markdown).plans}
    assert found == expected


@pytest.mark.parametrize(
    ("layout", "verdict"),
    [
        ("cards below headings", "Starter is cheaper: $9/month against $29/month for Pro, $20/month less."),
        ("a row for each", "Basic is cheaper: 9,99 € against 1.200,00 € for Pro, 1.190,01 € less."),
        (
            "rows with monthly and yearly prices",
            "Basic is cheaper: $9 per month against $29 per month for Pro, $20 per month less.",
        ),
        ("free, and a footnote", "Free is cheaper: Free against $12 per user/month for Team."),
        ("German", "The page gives one price to compare:"),
    ],
)  # fmt: skip
def test_the_difference_is_reckoned_only_between_prices_of_one_kind(layout: str, verdict: str):
    found = offer(LAYOUTS[layout][0])
    assert compared(found.plans, found.notes).splitlines()[0] == verdict


def test_prices_for_different_times_or_in_different_currencies_are_not_reckoned():
    for other in ("€20/month", "$200/year"):
        found = offer(f"## A\n\n$9/month\n\n## B\n\n{other}")
        assert "so I do not reckon them against each other" in compared(found.plans)


def test_differences_and_what_is_shared_are_told_as_the_page_has_them():
    rows = "| Plan | A | B |\n|---|---|---|\n| Price | $9 | $19 |\n| Users | 1 | 5 |\n| SSO | ✗ | ✓ |\n| Chat | ✓ | ✓ |"
    told = compared(offer(rows).plans)
    assert "- Users: A 1, B 5\n- Only in B: SSO\n- Both have: Chat" in told
    cards = "## A\n\n$9\n\n- 3 projects\n- Chat\n\n## B\n\n$19\n\n- Unlimited projects\n- Chat\n- SSO"
    told = compared(offer(cards).plans)
    assert "“3 projects”, B “Unlimited projects”\n- Only B lists: SSO\n- Both have: Chat" in told


def test_a_table_without_prices_adds_to_the_cards_it_names():
    page = "## A\n\n$9\n\n## B\n\n$19\n\n# Compare\n\n| Feature | A | B |\n|---|---|---|\n| Users | 3 | 10 |"
    assert "- Users: A 3, B 10" in compared(offer(page).plans)


def test_what_a_long_list_of_prices_takes_grows_with_its_length_and_no_faster():
    def calls(rows: int) -> int:
        page = "| Item | Price |\n|---|---|\n" + "".join(f"| Item {i} | {i} USD |\n" for i in range(rows))
        profile = cProfile.Profile()
        found = profile.runcall(offer, page)
        assert len(found.plans) == 12
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(400) < 6 * calls(100)


def test_a_page_without_plans_has_none():
    assert offer("## We raised $5 million\n\nGreat.\n\n## Office moved\n\nRent is $3000 a month now.").plans == ()
    assert offer("# Blog\n\nHello there.\n\n| Name | Age |\n|---|---|\n| Ann | 3 |").plans == ()
