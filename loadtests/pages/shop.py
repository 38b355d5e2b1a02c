"""A department of a shop: filters, sorting, and 100 products with pictures, prices and buttons."""

from loadtests.pages.markup import document, link, listed, slug

PRODUCTS = 100
_KINDS = ("Kettle", "Toaster", "Desk lamp", "Chair", "Backpack", "Headphones", "Keyboard", "Water bottle")
_MAKERS = ("Nordal", "Kestrel", "Oak & Iron", "Lumo", "Pemberton")
_COLOURS = ("black", "white", "sage", "navy", "copper")
_DEPARTMENTS = ("Home", "Kitchen", "Office", "Garden", "Outdoor", "Audio", "Toys", "Sale")


def page() -> str:
    """One page of results."""
    products = "".join(_product(number) for number in range(PRODUCTS))
    return document(
        "Home & Office – Wharfside",
        '<header><a href="/"><img src="/images/logo.png" alt="Wharfside"></a><form role="search">'
        '<input type="search" aria-label="Search products"><button>Search</button></form>'
        f'{link("Account")}<a href="/basket" aria-label="Basket, 2 items"><svg width="16" height="16"></svg>'
        "<span>2</span></a>"
        f"</header><nav>{listed(map(link, _DEPARTMENTS))}</nav><main><h1>Home &amp; Office</h1><p>412 products</p>"
        "<label>Sort by <select><option>Relevance</option><option>Price, low to high</option>"
        f"<option>Price, high to low</option><option>Newest</option></select></label>{_filters()}"
        f'<div class="grid">{products}</div><nav aria-label="Pages">'
        + "".join(link(str(number), f"?page={number}") for number in range(1, 6))
        + "</nav></main>",
        style=".grid { display: grid; grid-template-columns: repeat(5, 1fr); gap: 1em } .card { cursor: pointer }",
    )


def _filters() -> str:
    def group(name: str, values: tuple[str, ...]) -> str:
        boxes = "".join(f'<label><input type="checkbox"> {value.replace("&", "&amp;")}</label>' for value in values)
        return f"<fieldset><legend>{name}</legend>{boxes}</fieldset>"

    price = '<label>From <input type="number"></label><label>To <input type="number"></label>'
    return f"<aside>{group('Brand', _MAKERS)}{group('Colour', _COLOURS)}{price}<button>Apply filters</button></aside>"


def _product(number: int) -> str:
    kind, maker = _KINDS[number * 5 % len(_KINDS)], _MAKERS[number * 3 % len(_MAKERS)]
    name = f"{maker} {kind}, {_COLOURS[number * 7 % len(_COLOURS)]}, model {100 + number}"
    shown = name.replace("&", "&amp;")
    address = f"/p/{slug(name)}/{880000 + number}?utm_source=listing&amp;utm_medium=grid&amp;pos={number}"
    was = f"<s>£{(number * 131) % 190 + 25}.00</s> " if number % 4 == 0 else ""
    return (
        f'<div class="card"><div class="picture"><a href="{address}"><img src="/images/{number}.png" alt="{shown}" '
        f'width="120" height="120" loading="lazy"></a></div><div class="body"><h3><a href="{address}">{shown}</a></h3>'
        f'<div role="img" aria-label="{3 + number % 3}.{number % 10} out of 5 stars"></div>'
        f"<span>({number * 17 % 900})</span>"
        f'<div class="price">{was}<span>£{(number * 131) % 190 + 9}.99</span></div>'
        '<div class="actions"><button>Add to basket</button><button aria-label="Add to wish list">♡</button></div>'
        "</div></div>"
    )
