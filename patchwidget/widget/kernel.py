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

    ipykernel 7.4 sends them to the shell that last published on the comm instead. As long as that is the cell which made the widget,
    it is the main shell: with "Run All" the page's first hello would wait for every cell below. A subshell may also be gone by then.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, named: named  # noqa: SLF001  there is no public way
