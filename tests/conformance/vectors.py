"""Ways for a page to make a browser ask somebody: what a hostile page tries to reach what it must not.

In each, `{to}` is the address to ask, `{ws}` the same for WebSockets and `{host}` its host and port.
"""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Vector:
    """`html` asks when it is loaded; with `sure`, a bait that may be reached is asked indeed, which the tests check."""

    html: str
    sure: bool = True


def _script(source: str, *, sure: bool = True) -> Vector:
    return Vector(f"<script>{source}</script>", sure)


def _worker(source: str, kind: str = "Worker") -> str:
    source = source.replace("`", "\\`")
    return f"new {kind}(URL.createObjectURL(new Blob([`{source}`], {{type: 'text/javascript'}})))"


SVG = "<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink' width=50 height=50>"
RTC = (
    "const peer = new RTCPeerConnection({iceServers: [{urls: 'SERVER', username: 'u', credential: 'p'}]});"
    "peer.createDataChannel('x'); peer.createOffer().then((offer) => peer.setLocalDescription(offer))"
)

SUBRESOURCES = {
    "image": Vector("<img src='{to}'>"),
    "image set": Vector("<img srcset='{to} 1x'>"),
    "picture": Vector("<picture><source srcset='{to}'><img></picture>"),
    "input image": Vector("<input type=image src='{to}'>"),
    "body background": Vector("<table background='{to}'><tr><td>x</table>"),
    "script": Vector("<script src='{to}'></script>"),
    "module": Vector("<script type=module src='{to}'></script>"),
    "import": _script("import('{to}').catch(() => 0)"),
    "stylesheet": Vector("<link rel=stylesheet href='{to}'>"),
    "css import": Vector("<style>@import '{to}';</style>"),
    "css image": Vector("<p style=\"background: url('{to}')\">x"),
    "css cursor": Vector("<p style=\"cursor: url('{to}'), auto; content: url('{to}')\">x", sure=False),
    "font": Vector("<style>@font-face { font-family: f; src: url('{to}') } p { font-family: f }</style><p>x"),
    "font by script": _script("new FontFace('f', 'url({to})').load().catch(() => 0)"),
    "video": Vector("<video src='{to}' autoplay muted></video>"),
    "video poster": Vector("<video poster='{to}'></video>"),
    "audio": Vector("<audio src='{to}' autoplay muted preload=auto></audio>"),
    "track": Vector(
        "<video crossorigin autoplay muted src='data:video/mp4,'><track default src='{to}'></video>", sure=False
    ),
    "svg image": Vector(SVG + "<image href='{to}' width=5 height=5 /></svg>"),
    "svg use": Vector(SVG + "<use href='{to}#a' /></svg>", sure=False),
    "svg filter": Vector(
        SVG + "<filter id=f><feImage href='{to}' /></filter><rect filter='url(#f)' width=9 height=9 /></svg>"
    ),
    "favicon": Vector("<link rel=icon href='{to}'>", sure=False),
    "manifest": Vector("<link rel=manifest href='{to}'>", sure=False),
    "preload": Vector("<link rel=preload as=image href='{to}'>"),
    "modulepreload": Vector("<link rel=modulepreload href='{to}'>"),
    "prefetch": Vector("<link rel=prefetch href='{to}'>", sure=False),
    "prerender": Vector("<link rel=prerender href='{to}'>", sure=False),
    "preconnect": Vector("<link rel=preconnect href='{to}'>", sure=False),
    "dns prefetch": Vector("<link rel=dns-prefetch href='{to}'>", sure=False),
    "speculation rules": Vector(
        "<script type=speculationrules>"
        + json.dumps({"prefetch": [{"urls": ["{to}"], "eagerness": "immediate"}]})
        + "</script>",
        sure=False,
    ),
    "xslt": Vector(
        "<iframe src=\"data:text/xml,<?xml version='1.0'?><?xml-stylesheet type='text/xsl' href='{to}'?><a/>\"></iframe>",
        sure=False,
    ),
    "external entity": _script(
        "new DOMParser().parseFromString('<!DOCTYPE a [<!ENTITY e SYSTEM \"{to}\">]><a>&e;</a>', 'text/xml')",
        sure=False,
    ),
    "ping": Vector("<a id=ping href='#' ping='{to}'>x</a><script>ping.click()</script>"),
}

SCRIPTS = {
    "fetch": _script("fetch('{to}').catch(() => 0)"),
    "fetch without cors": _script("fetch('{to}', {mode: 'no-cors', credentials: 'include'}).catch(() => 0)"),
    "fetch that outlives the page": _script("fetch('{to}', {mode: 'no-cors', keepalive: true}).catch(() => 0)"),
    "fetch put": _script("fetch('{to}', {method: 'PUT', body: 'x'}).catch(() => 0)"),
    "xhr": _script("const ask = new XMLHttpRequest(); ask.open('GET', '{to}'); ask.send()"),
    "xhr that waits": _script(
        "const ask = new XMLHttpRequest(); ask.open('GET', '{to}', false); try { ask.send() } catch {}"
    ),
    "beacon": _script("navigator.sendBeacon('{to}', 'x')"),
    "event source": _script("new EventSource('{to}')"),
    "websocket": _script("new WebSocket('{ws}')"),
    "worker fetch": _script(_worker("fetch('{to}').catch(() => 0)")),
    "worker import": _script(_worker("importScripts('{to}')")),
    "worker websocket": _script(_worker("new WebSocket('{ws}')")),
    "worker xhr": _script(_worker("const a = new XMLHttpRequest(); a.open('GET', '{to}'); a.send()")),
    "nested worker": _script(
        _worker(
            "new Worker(URL.createObjectURL(new Blob([\"fetch('{to}').catch(() => 0)\"], {type: 'text/javascript'})))"
        )
    ),
    "shared worker": _script(_worker("fetch('{to}').catch(() => 0)", "SharedWorker")),
    "shared worker websocket": _script(_worker("new WebSocket('{ws}')", "SharedWorker")),
    "worklet": _script("CSS.paintWorklet && CSS.paintWorklet.addModule('{to}').catch(() => 0)", sure=False),
    "audio worklet": _script(
        "new OfflineAudioContext(1, 1, 44100).audioWorklet?.addModule('{to}').catch(() => 0)", sure=False
    ),
    "webrtc stun": _script(RTC.replace("SERVER", "stun:{host}"), sure=False),
    "webrtc turn": _script(RTC.replace("SERVER", "turn:{host}?transport=udp"), sure=False),
    "webrtc turn by tcp": _script(RTC.replace("SERVER", "turn:{host}?transport=tcp"), sure=False),
    "webtransport": _script("try { new WebTransport('https://{host}/').ready.catch(() => 0) } catch {}", sure=False),
    "background fetch": _script(
        "navigator.serviceWorker?.ready.then((r) => r.backgroundFetch?.fetch('x', ['{to}'])).catch(() => 0)", sure=False
    ),
    "report": _script(
        "new ReportingObserver(() => 0); const m = document.createElement('meta'); m.httpEquiv = 'Content-Security-Policy';"
        "m.content = \"img-src 'none'; report-uri {to}\"; document.head.append(m); new Image().src = 'http://x.test/'",
        sure=False,
    ),
}

NAVIGATIONS = {
    "frame": Vector("<iframe src='{to}'></iframe>"),
    "frame in a document": Vector("<iframe srcdoc=\"<img src='{to}'>\"></iframe>"),
    "frame of old": Vector("<iframe srcdoc=\"<frameset><frame src='{to}'></frameset>\"></iframe>"),
    "object": Vector("<object data='{to}'></object>"),
    "embed": Vector("<embed src='{to}'>"),
    "meta refresh": Vector("<iframe srcdoc=\"<meta http-equiv=refresh content='0;url={to}'>\"></iframe>"),
    "script navigation": Vector("<iframe srcdoc=\"<script>location = '{to}'</script>\"></iframe>"),
    "form get": Vector(
        "<iframe name=fg></iframe><form target=fg action='{to}' id=fgf></form><script>fgf.submit()</script>"
    ),
    "form post": Vector(
        "<iframe name=fp></iframe><form method=post target=fp action='{to}' id=fpf><input name=a value=b></form>"
        "<script>fpf.submit()</script>"
    ),
    "window open": _script("open('{to}')", sure=False),
    "base": Vector("<iframe srcdoc=\"<base href='{to}'><img src='?based'>\"></iframe>"),
    "data frame": Vector("<iframe src=\"data:text/html,<img src='{to}'>\"></iframe>"),
    "sandboxed frame": Vector(
        "<iframe sandbox=allow-scripts src=\"data:text/html,<script>fetch('{to}').catch(() => 0)</script>\"></iframe>"
    ),
    "blob frame": _script(
        "const f = document.createElement('iframe'); f.src = URL.createObjectURL(new Blob([`<img src='{to}'>`],"
        "{type: 'text/html'})); document.body.append(f)"
    ),
    "javascript frame": Vector("<iframe src=\"javascript:void(new Image().src = '{to}')\"></iframe>"),
    "download": Vector("<a download id=dl href='{to}'>x</a><script>dl.click()</script>"),
}

VECTORS = SUBRESOURCES | SCRIPTS | NAVIGATIONS
"""All of them, by name."""


def written(name: str, to: str) -> str:
    """A vector that asks for an address."""
    host = to.partition("://")[2].partition("/")[0]
    html = VECTORS[name].html
    return html.replace("{to}", to).replace("{ws}", to.replace("http", "ws", 1)).replace("{host}", host)
