"""Reading and writing a site from hooks: the one place that knows how a module's arguments and outputs are packed."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import Tensor, nn

from patchwidget.models.hooks import Hooks
from patchwidget.models.trace import main_input, main_tensor
from patchwidget.models.wrapped import WrappedModel

from .edits import EditTable, RowsOf
from .names import written_at
from .sites import MODULE, Tap


def on_read(hooks: Hooks, tap: Tap, read: Callable[[Tensor], None]) -> None:
    """Call `read(rows)` each time the site is computed."""

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        read(tap.rows(_found(main_input(args, kwargs), module)))

    def after(module: nn.Module, output: Any) -> None:
        read(tap.rows(_found(main_tensor(output), module)))

    if tap.side == "input":
        hooks.before(tap.module, before)
    else:
        hooks.after(tap.module, after)


def on_write(hooks: Hooks, tap: Tap, write: Callable[[Tensor], None], shared: bool = False) -> None:
    """Call `write(rows)` each time the site is computed; what it writes into the rows is what the model goes on with.

    `shared`: the tensor is read elsewhere too and must change there (the residual stream at resid_mid), so it is written in place.
    """

    def edited(tensor: Tensor) -> Tensor:
        target = tensor if shared else tensor.clone()
        rows = tap.rows(target)
        write(rows)
        return target if rows.data_ptr() == target.data_ptr() else target.copy_(rows.reshape(target.shape))

    on_pass(hooks, tap, edited)


def on_edits(hooks: Hooks, model: WrappedModel, edits: EditTable, places: Iterable[tuple[str, int]], rows_of: RowsOf) -> None:
    """Write the edits of these places, none of them inside attention, each time the model passes there."""
    # a module's own input is made of the stream at resid_mid, which may be the same module's
    for place in sorted(places, key=lambda place: place[0].startswith(MODULE)):
        on_write(hooks, written_at(model, *place), partial(edits.write, place, rows_of=rows_of), shared=place[0] == "resid_mid")


def on_pass(hooks: Hooks, tap: Tap, exchange: Callable[[Tensor], Tensor]) -> None:
    """Call `exchange(tensor)` each time the site is computed, with the whole tensor; what it returns is what the model goes on with."""

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found = _found(main_input(args, kwargs), module)
        new = exchange(found)
        return tuple(new if x is found else x for x in args), {k: new if x is found else x for k, x in kwargs.items()}

    def after(module: nn.Module, output: Any) -> Any:
        found = _found(main_tensor(output), module)
        new = exchange(found)
        return new if output is found else type(output)(new if x is found else x for x in output)

    if tap.side == "input":
        hooks.before(tap.module, before)
    else:
        hooks.after(tap.module, after)


def _found(tensor: Tensor | None, module: nn.Module) -> Tensor:
    if tensor is None:
        raise LookupError(f"{type(module).__name__} was called without a tensor")
    return tensor
