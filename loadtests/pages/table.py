"""Orders of a company: a table of 60 rows with its search field, its sorting and its pages."""

from loadtests.pages.markup import document, link

ROWS = 60
_CUSTOMERS = ("Alder & Sons", "Brightwater Ltd", "Caldera GmbH", "Dunmore Foods", "Elm Street Press", "Fjord Line AS")
_CITIES = ("Leeds", "Porto", "Graz", "Cork", "Lyon", "Bergen", "Turku")
_STATES = ("Paid", "Open", "Overdue", "Shipped")
_COLUMNS = ("Order", "Customer", "City", "Date", "Amount", "Status", "")


def page() -> str:
    """The table, with a link and a button in each row."""
    heads = "".join(f"<th><button>{name}</button></th>" if name else "<th></th>" for name in _COLUMNS)
    rows = "".join(_row(number) for number in range(ROWS))
    return document(
        "Orders",
        '<h1>Orders</h1><form><label>Search <input type="search" name="q"></label><button>Search</button></form>'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        '<nav aria-label="Pages"><a href="?page=1">Previous</a> <span>Page 2 of 9</span> <a href="?page=3">Next</a></nav>',
    )


def _row(number: int) -> str:
    customer = _CUSTOMERS[number * 5 % len(_CUSTOMERS)]
    cells = (
        link(f"A-{10412 + number}", f"/orders/{10412 + number}"),
        customer.replace("&", "&amp;"),
        _CITIES[number * 3 % len(_CITIES)],
        f"2026-{1 + number % 12:02}-{1 + number * 7 % 28:02}",
        f"€ {(number * 7919) % 4000 + 18}.{number * 37 % 100:02}",
        _STATES[number * 11 % len(_STATES)],
        "<button>Details</button>",
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
