"""An application: menus, tabs, tiles, two frames with pages of their own, and a dialog that stands open."""

from loadtests.pages.markup import document, link, listed

_MENU = ("Overview", "Customers", "Invoices", "Payments", "Reports", "Team", "Settings")
_TILES = (
    ("Revenue", "€ 48,210", "+4.1 %"),
    ("New customers", "132", "+12 %"),
    ("Churn", "1.8 %", "−0.3 %"),
    ("Open", "17", ""),
)
_TASKS = ("Call Brightwater about the late payment", "Check VAT of invoice 10431", "Send the contract to Dunmore Foods")
_ACTIVITY = (
    "Ines paid invoice 10398",
    "Tom added a customer",
    "Aiko exported a report",
    "Mara changed the plan",
    "Paul left",
)


def page() -> str:
    """The application's own page."""
    tiles = "".join(
        f'<div class="tile"><div><div><span>{name}</span></div><div><strong>{value}</strong></div></div>'
        f"<div>{change}</div></div>"
        for name, value, change in _TILES
    )
    tabs = "".join(
        f'<button role="tab" aria-selected="{str(name == "Week").lower()}">{name}</button>'
        for name in ("Day", "Week", "Month")
    )
    tasks = "".join(
        f'<li><label><input type="checkbox"> {task}</label><button>Postpone</button></li>' for task in _TASKS
    )
    return document(
        "Overview · Ledgerly",
        f'<div class="app"><div class="bar"><nav aria-label="Main">{listed(map(link, _MENU))}</nav>'
        '<button aria-haspopup="menu" aria-expanded="false">Jo Park</button>'
        '<button aria-label="Notifications, 3 unread">🔔</button>'
        f'</div><main><h1>Overview</h1><div role="tablist">{tabs}</div><div class="tiles">{tiles}</div>'
        f'<section><h2>Tasks</h2><ul>{tasks}</ul><input placeholder="Add a task"><button>Add</button></section>'
        '<iframe title="Activity" src="/dashboard/activity" width="500" height="260"></iframe>'
        '<iframe title="Support" src="/dashboard/support" width="500" height="320"></iframe></main></div>' + _dialogs(),
        style=".tiles { display: flex; gap: 2em }",
    )


def activity() -> str:
    """What the first frame shows."""
    lines = "".join(f'<li>{text} <a href="/events/{number}">Show</a></li>' for number, text in enumerate(_ACTIVITY * 3))
    return document("Activity", f"<h2>Activity</h2><button>Refresh</button><ol>{lines}</ol>")


def support() -> str:
    """What the second frame shows."""
    return document(
        "Support",
        "<h2>How can we help?</h2><form><label>Subject <select><option>Billing</option><option>Technical</option></select>"
        "</label>"
        '<label>Message <textarea rows="3"></textarea></label><label><input type="radio" name="how" checked> Email</label>'
        '<label><input type="radio" name="how"> Phone</label><button>Send</button></form>',
    )


def _dialogs() -> str:
    return (
        '<dialog open aria-label="What is new"><h2>What is new</h2><p>Invoices can now be sent in four more languages.</p>'
        f'{link("Read more")}<button>Got it</button></dialog><dialog id="confirm"><p>Delete this customer?</p>'
        "<button>Delete</button><button>Cancel</button></dialog>"
        "<button onclick=\"document.getElementById('confirm').showModal()\">Delete customer</button>"
    )
