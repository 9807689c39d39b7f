"""Whether the packed executor can run a model at all."""

from collections.abc import Iterable

from patchwidget.models.wrapped import WrappedModel


def why_not_packed(model: WrappedModel, hooked: Iterable[str]) -> str | None:
    """What keeps a model from the packed executor, as the end of a sentence; None if nothing does.

    Args:
        hooked: paths of the modules that a user has set forward hooks on.
    """
    if not model.has_blocks:
        return "it has no blocks"
    if not model.anatomy.intercepted:
        return "its attention does not go through transformers' attention interface"
    if model.anatomy.tail is None:
        return "what is between its last block and its unembedding is not a chain of modules"
    if not model.causal:
        return "its positions see later ones"
    on_the_way = _first_passed(model, list(hooked))
    return f"there is a forward hook of yours on {on_the_way}, which may go by position" if on_the_way else None


def _first_passed(model: WrappedModel, paths: list[str]) -> str | None:
    """The first of these modules that packed rows would pass."""
    if not paths:
        return None
    passed = [*(block.module for block in model.anatomy.blocks), *(model.anatomy.tail or ()), model.anatomy.head]
    inside = {module for outer in passed for module in outer.modules()}
    return next((path for path in paths if model.hf.get_submodule(path) in inside), None)
