"""The way into an account: a form, two other ways in, and the small print."""

from loadtests.pages.markup import document, link, listed

_SMALL_PRINT = ("Help", "Privacy", "Terms", "Status")


def page() -> str:
    """The form, with an address filled in already."""
    form = (
        '<form method="post" action="/session"><div class="field"><label for="email">Email address</label>'
        '<input id="email" type="email" name="email" value="jo@example.com" autocomplete="username" required></div>'
        '<div class="field"><label for="password">Password</label><div class="with-button">'
        '<input id="password" type="password" name="password" autocomplete="current-password" required>'
        '<button type="button" aria-label="Show password">Show</button></div></div>'
        '<label><input type="checkbox" name="remember" checked> Stay signed in on this device</label>'
        f'<button type="submit">Sign in</button>{link("Forgot your password?")}</form>'
    )
    others = "<p>or</p><button>Continue with Google</button><button>Continue with Microsoft</button>"
    return document(
        "Sign in – Ledgerly",
        '<header><a href="/"><img src="/images/logo.png" alt="Ledgerly"></a></header>'
        f"<main><h1>Sign in</h1><p>Welcome back. Please enter your details.</p>{form}{others}"
        f"<p>New here? {link('Create an account')}</p></main><footer>{listed(map(link, _SMALL_PRINT))}"
        '<label>Language <select name="language"><option selected>English</option><option>Deutsch</option>'
        "<option>Français</option><option>日本語</option></select></label></footer>",
    )
