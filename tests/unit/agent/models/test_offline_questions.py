"""The offline model over files of every-day shapes: tickets, staff, stock, orders, minutes."""

import pytest

from tests.unit.agent.models.office import Office

FILES = {
    "tickets.md": """| ID | Title | Status | Priority | Assignee |
|---|---|---|---|---|
| 101 | Login fails | Open | High | Ann |
| 102 | Slow search | In progress | Medium | Bob |
| 103 | Typo on home page | Closed | Low | Ann |
| 104 | Crash on save | Open | High | Cy |
""",
    "falcon.md": """# Project Falcon

## Tasks
- [x] Draft proposal (Maria, due 2025-03-02)
- [ ] Review budget (Tom, due 2025-03-15)
- [ ] Book venue (Maria, due 2025-04-01)

## Decisions
We decided to move the launch to June. The venue is the Grand Hotel in Lisbon. Our sponsor is Northwind.
""",
    "stock.csv": """sku;product;category;qty;price
A-100;Blue widget;widgets;120;€2,50
A-101;Red widget;widgets;0;€2,75
B-200;Steel bolt;bolts;4500;€0,12
C-300;Gadget Pro;gadgets;12;€149,00
""",
    "people.md": """| Name | Role | Department | Salary | Start date | Email |
|---|---|---|---|---|---|
| Ann Lee | Engineer | R&D | 72,000 | 2021-05-01 | ann@corp.com |
| Bo Chen | Designer | R&D | 65,000 | 2022-09-15 | bo@corp.com |
| Di Marco | Head of sales | Sales | 95,000 | 2018-03-03 | di@corp.com |
""",
    "orders.txt": """#1001 Jane Doe, 3 items, $120.00, shipped
#1002 John Roe, 1 item, $15.50, pending
#1003 Max Mus, 7 items, $310.25, pending
""",
    "june.md": """Deals - June
=============

Open:
* Alpha (10k)
* Beta (20k)

Won:
* Gamma (5k)
""",
    "minutes.md": """Attendees: Ann, Bo and Di.
Budget: €40,000 for the year.
Deadline: 30 June 2025

Ann reported that churn fell to 3.2 % in February. We have seven open roles.
The next meeting takes place on 18 March at 10:00 in room Helsinki.
""",
    "kpis.txt": "Q1 revenue: €1.2M\nQ2 revenue: €1.5M\nQ3 revenue: €1.1M\nHeadcount: 42\n",
}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("how many open tickets are in tickets.md?", "2 open tickets: Login fails and Crash on save"),
        ("which tickets are in progress?", "Slow search"),
        ("how many high priority tickets are open in tickets.md", "lists 2 "),
        ("List Ann's open tickets in tickets.md", "1 open ticket in tickets.md:\n- Login fails"),
        ("what is ticket 103 about?", "Typo on home page"),
        ("how many tickets are not closed in tickets.md", "lists 3 "),
        ("count the tickets by status", "- Open: 2\n- In progress: 1\n- Closed: 1"),
        ("what percentage of tickets are open in tickets.md?", "50%"),
        ("which tasks are due before 2025-03-20?", "- Review budget"),
        ("Where is the venue?", "Grand Hotel in Lisbon"),
        ("Who is our sponsor?", "Northwind"),
        ("Who is working on Book venue?", "Maria"),
        ("Which products are out of stock?", "Red widget"),
        ("How many widgets do we have in stock?", "is 120"),
        ("what is the price of the Gadget Pro", "€149"),
        ("what is the second most expensive product?", "Red widget"),
        ("which products cost more than €2.60?", "Gadget Pro"),
        ("how many products are in each category", "- widgets: 2"),
        ("how many people work in R&D?", "2 people: Ann Lee and Bo Chen"),
        ("what's Ann's email address?", "ann@corp.com"),
        ("average salary by department in people.md", "- R&D: 68,500"),
        ("Which employees started after 2020?", "Bo Chen"),
        ("who is the head of sales?", "Di Marco"),
        ("total of the pending orders in orders.txt", "$325.75"),
        ("what did Max Mus order?", "7 items"),
        ("how many deals were won in june.md?", "1 won deal: Gamma"),
        ("total value of the open deals in june.md", "is 30,000"),
        ("what is the budget for the year?", "€40,000"),
        ("When is the next meeting?", "18 March"),
        ("how many open roles do we have?", "seven"),
        ("What did churn fall to?", "3.2 %"),
        ("what was the Q2 revenue?", "€1.5M"),
        ("total revenue in kpis.txt", "€3,800,000"),
        ("Is there a file about people?", "people.md"),
        ("how many days are there between 2025-01-30 and 2025-03-02?", "31 days"),
        ("what date is 3 weeks after 2025-01-30?", "2025-02-20"),
        ("what day of the week is 2025-03-01?", "Saturday"),
    ],
)
@pytest.mark.parametrize("listing", [True, False], ids=["listed", "unlisted"])
async def test_everyday_questions(question: str, expected: str, listing: bool) -> None:
    assert expected in (await Office(dict(FILES), listing=listing).ask(question)).text


async def test_currencies_are_not_added_up() -> None:
    office = Office({"deals.csv": "deal,status,value\nAcme,open,€100\nGlobex,open,$200\n"})
    answer = (await office.ask("what is the total value of the open deals in deals.csv?")).text
    assert "several currencies: €100 and $200" in answer


async def test_a_list_of_other_things_is_not_passed_off_as_the_answer() -> None:
    office = Office({"tickets.md": FILES["tickets.md"]})
    answer = (await office.ask("how many open positions do we have?")).text
    assert "No file says that it is about open positions" in answer or "found nothing" in answer
