"""What the widget has to know about the kernel it runs in. Nothing here needs a kernel to be there."""

from typing import Any

from IPython.core.getipython import get_ipython

WAITS = "While a cell runs, clicks wait for it to end: answering them meanwhile needs a kernel with subshells (ipykernel 7 or newer)."


def waits_for_cells() -> str | None:
    """A sentence where this kernel answers no click while a cell runs, else None."""
    kernel = getattr(get_ipython(), "kernel", None)
    info = getattr(kernel, "kernel_info", {})
    return None if "kernel subshells" in info.get("supported_features", ()) else WAITS


def answer_where_asked(comm: Any) -> None:
    """Leave the page's messages to the subshell that each of them names.

    ipykernel 7.4 sends a comm's messages to the shell that last published on it instead. That is the busy main shell as long as only the
    cell that made the widget has, so the page's first hello would wait for all cells below ("Run All"); and it is a subshell that is no
    more when the notebook was closed and is opened again, where messages get lost.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, named: named  # noqa: SLF001  there is no public way
