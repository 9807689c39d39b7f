"""The lines of Python that compute again what a lab shows."""

from patchwidget.widget.transport.protocol import Message

from .views import GridView, View


def code_of_view(view: View, selected: list[Message]) -> str:
    """What computes a view again, draws it, and measures what is selected together."""
    drawn = "result.plot()\n" if isinstance(view, GridView) and len(view.work) == 1 else ""
    patches = ", ".join(f"pw.Patch({', '.join(f'{name}={value!r}' for name, value in cell.items())})" for cell in selected)
    mean = ".mean()" if isinstance(view, GridView) and view.pairs else ""
    joint = f"joint = exp.patch([{patches}]){mean}\n" if selected else ""
    return view.code + joint + drawn
