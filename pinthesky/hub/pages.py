"""The shell of the few pages that the hub itself shows: no console, no script but its own, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from starlette.responses import HTMLResponse, Response

_SHELL = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Pi In The Sky</title><style>
:root {{ color-scheme: light dark; --line: #8886; --accent: #2766a6; --on-accent: #fff; }}
@media (prefers-color-scheme: dark) {{ :root {{ --accent: #7db4ea; --on-accent: #0c1722; }} }}
body {{ font: 16px/1.55 system-ui, sans-serif; max-width: 42rem; margin: 0 auto; padding: 2rem 1rem 4rem; }}
h1 {{ font-size: 1.5rem; line-height: 1.25; }} a {{ color: var(--accent); }}
code {{ font: 0.9em ui-monospace, monospace; overflow-wrap: anywhere; }}
.box {{ border: 1px solid var(--line); border-radius: 0.6rem; padding: 0.8rem 1rem; }}
details {{ border-bottom: 1px solid var(--line); padding: 0.7rem 0; }} summary {{ cursor: pointer; font-weight: 600; }}
ol {{ padding-left: 1.3rem; }}
form {{ display: flex; flex-wrap: wrap; gap: 0.6rem; align-items: end; margin: 1.2rem 0; }}
label {{ flex: 1 1 16rem; }}
input {{ font: inherit; box-sizing: border-box; width: 100%; padding: 0.5rem 0.7rem; border: 1px solid var(--line);
  border-radius: 0.5rem; }}
button {{ font: inherit; padding: 0.5rem 1.1rem; border: 0; border-radius: 0.5rem; background: var(--accent);
  color: var(--on-accent); cursor: pointer; }}
:focus-visible {{ outline: 3px solid var(--accent); outline-offset: 2px; }}
</style></head><body><main><h1>{title}</h1>
{body}
</main>{script}</body></html>
"""


def page(title: str, body: str, *, script: str = "", status: int = 200) -> Response:
    """A page; `title` is text, `body` is HTML, `script` the only JavaScript that it may run; it asks the hub alone."""
    allowed = ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        allowed = f" script-src 'sha256-{digest}'; connect-src 'self';"
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline';{allowed} form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    )
    html = _SHELL.format(title=escape(title), body=body, script=f"<script>{script}</script>" if script else "")
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        # Not `no-referrer`: with that, browsers say `Origin: null` when our own forms are sent.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(html, status, headers=headers)
