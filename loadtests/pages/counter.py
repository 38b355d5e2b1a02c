"""A page on which a click changes something, among as much as an ordinary page has."""

from loadtests.pages import table

BUTTON = "Count"


def page() -> str:
    """The table of orders with a button above it that counts how often it was clicked."""
    click = "this.nextElementSibling.textContent = 'clicked ' + ++count"
    counter = f'<script>let count = 0</script><button onclick="{click}">{BUTTON}</button><p>clicked 0</p>'
    return table.page().replace("<h1>", f"{counter}<h1>", 1)
