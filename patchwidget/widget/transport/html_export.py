"""A lab without its kernel: what has been measured, as a value that a notebook saves and as a file that opens by itself."""

import base64
import html
import json
from pathlib import Path
from typing import Any

from . import protocol
from .protocol import Message

# The module is a blob because a page that was opened from a disk may import nothing else.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 16px; background: Canvas; color: CanvasText; }}
{css}
</style>
</head>
<body>
<main id="lab"></main>
<script type="application/json" id="stored">{stored}</script>
<script type="application/json" id="module">{module}</script>
<script type="module">
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const stored = read("stored");
const source = URL.createObjectURL(new Blob([read("module")], {{ type: "text/javascript" }}));
const widget = await (await import(source)).default();
const model = {{
  get: (name) => (name === "stored" ? stored : undefined),
  set() {{}}, save_changes() {{}}, send() {{}}, on() {{}}, off() {{}},
}};
const {{ signal }} = new AbortController();
await widget.initialize({{ model, signal }});
await widget.render({{ model, signal, el: document.getElementById("lab") }});
</script>
</body>
</html>
"""


def as_stored(snapshot: Message) -> Message:
    """A snapshot in JSON alone: `{content, buffers}`, the buffers as base64 texts."""
    content, buffers = protocol.pack(snapshot)
    return {"content": content, "buffers": [base64.b64encode(buffer).decode() for buffer in buffers]}


def write_html(path: Path, title: str, snapshot: Message, module: str, css: str) -> Path:
    """One file with the bundle and a snapshot of all views."""
    page = _PAGE.format(title=html.escape(title), css=css, stored=_in_script(as_stored(snapshot)), module=_in_script(module))
    path.write_text(page, encoding="utf-8")
    return path


def _in_script(value: Any) -> str:
    """JSON that does not end the element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")
