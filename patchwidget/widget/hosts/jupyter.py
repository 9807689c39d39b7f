"""What the widget has to know about the kernel it runs in. Nothing here needs a kernel to be there."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class CellRun:
    """One run of a cell: the id of the cell, which the notebook tells, and that of the message that ran it."""

    cell: str
    message: str


def current_run() -> CellRun | None:
    """The run of a cell that this code is part of; None outside of one, or where the notebook does not name its cells."""
    parent = getattr(get_ipython(), "get_parent", dict)() or {}
    header, cell = parent.get("header", {}), parent.get("metadata", {}).get("cellId")
    return CellRun(cell, header["msg_id"]) if header.get("msg_type") == "execute_request" and isinstance(cell, str) else None
