"""What can be asked next at a cell: the steps that a view offers, and why this model lacks one."""

from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from typing import Any

from patchwidget.errors import PatchError
from patchwidget.widget.transport.protocol import Message

from .axes import place_axis
from .menus import why_not

_NONE: Mapping[str, Any] = {}

ONE_PAIR = {"attention": "attention", "parts": "a head's parts", "paths": "paths"}
"""Of these questions there is no mean over pairs."""

ONE_PAIR_ONLY = "Choose one pair in the menu: this can't be asked of several."


class Steps:
    """The steps of one model, whose reasons are found out once.

    Attributes:
        several: whether they are asked of several pairs.
        place: what the prompts' places are counted by, "pos" or "role".
    """

    def __init__(self, experiment: Any) -> None:
        self._reasons = {site: why_not(experiment, site) for site in ("z", "q", "pattern", "mlp_post")}
        self.several, self.place = False, "pos"
        whole = experiment.runs.why_not_packed()
        self._no_paths = f"{experiment.model.name} can't be split into paths: {whole}." if whole else self._reasons["z"]

    def at(self, experiment: Any) -> "Steps":
        """The steps of one experiment on the model: over several pairs some can't be asked."""
        steps = copy(self)
        steps.several, steps.place = experiment.runs.several, "pos"
        if experiment.runs.several:
            with suppress(PatchError):  # by heads, all tokens together, there are steps all the same
                steps.place = place_axis(experiment)
        return steps

    def of_tokens(self) -> list[Message]:
        """At a cell of layer and token, or role."""
        return [
            self._heads(_NONE, {"pos": self.place}),
            self._neurons(_NONE, {"layer": "layer", "pos": self.place}),
            self._positions(_NONE, {"layer": "layer"}),
        ]

    def of_heads(self, pos: int | str | None, axis: str) -> list[Message]:
        """At a cell of layer and head; key/value heads are not one query head's."""
        if axis == "kv_head":
            return [self._positions(_NONE, {"layer": "layer"})]
        neurons = self._neurons({"pos": pos}, {"layer": "layer"})
        return [*self.of_head({"pos": pos}, {"layer": "layer", "head": axis}), self._positions(_NONE, {"layer": "layer"}), neurons]

    def of_positions(self, layer: int, axis: str, place: str) -> list[Message]:
        """At a cell of head and position, in one layer."""
        if axis == "kv_head":
            return [self._neurons({"layer": layer}, {"pos": place})]
        return [*self.of_head({"layer": layer}, {"head": axis, "pos": place}), self._neurons({"layer": layer}, {"pos": place})]

    def of_parts(self, layer: int, head: int) -> list[Message]:
        """At a part of one head at one position."""
        known = {"layer": layer, "head": head}
        inputs = {"site": ["q", "k_per_head", "v_per_head"]}
        into = self._step(
            "paths", "paths in", "Which earlier heads and MLPs this hears from", known, {"site": "site"}, self._no_paths, inputs
        )
        entries = self._entries(known, _NONE) | {"only": {"site": ["pattern"]}}
        return [into, entries, self._attention(known, {"pos": "pos"})]

    def of_sender(self, n_heads: int) -> list[Message]:
        """At an earlier head in a grid of paths."""
        only = {"sender": list(range(n_heads))}
        return [step | {"only": only} for step in self.of_head({"pos": None}, {"layer": "layer", "head": "sender"})]

    def of_head(self, known: Mapping[str, Any], taken: Mapping[str, str]) -> list[Message]:
        """At one head, whose layer, head and pos are known or taken from the cell."""
        fixed, given = ({name: value for name, value in some.items() if name != "pos"} for some in (known, taken))
        paths = []
        for letter, name in (("q", "queries"), ("k", "keys"), ("v", "values")):
            text = f"Which earlier heads and MLPs its {name} hear from"
            paths.append(self._step("paths", f"paths into {letter}", text, {**fixed, "site": letter}, given, self._no_paths))
        text = "Its queries, keys, values, pattern and output at each token"
        parts = self._step("parts", "q, k, v", text, fixed, given, self._reasons["q"])
        return [self._attention(known, taken), parts, *paths, self._entries(fixed, given)]

    def _heads(self, known: Mapping[str, Any], taken: Mapping[str, str]) -> Message:
        return self._step("heads", "heads", "Every head's output at this token", {"site": "z", **known}, taken, self._reasons["z"])

    def _positions(self, known: Mapping[str, Any], taken: Mapping[str, str]) -> Message:
        word = "role" if self.place == "role" else "token"
        text = f"Every head of this layer at each {word}"
        return self._step("positions", f"heads by {word}", text, {"site": "z", **known}, taken, self._reasons["z"])

    def _neurons(self, known: Mapping[str, Any], taken: Mapping[str, str]) -> Message:
        return self._step("neurons", "neurons", "Every neuron of this layer's MLP", known, taken, self._reasons["mlp_post"])

    def _attention(self, known: Mapping[str, Any], taken: Mapping[str, str]) -> Message:
        return self._step("attention", "attention", "Where this head looks, in both runs", known, taken, self._reasons["pattern"])

    def _entries(self, known: Mapping[str, Any], taken: Mapping[str, str]) -> Message:
        reason = ONE_PAIR_ONLY if self.place == "role" else self._reasons["pattern"]
        return self._step("entries", "pattern entries", "Its pattern, patched entry by entry", known, taken, reason)

    def _step(
        self,
        method: str,
        label: str,
        text: str,
        params: Mapping[str, Any],
        takes: Mapping[str, str],
        reason: str | None,
        only: Message | None = None,
    ) -> Message:
        if self.several and method in ONE_PAIR:
            reason = ONE_PAIR_ONLY
        return {
            "method": method,
            "label": label,
            "text": text,
            "params": dict(params),
            "takes": dict(takes),
            "only": only,
            "reason": reason,
        }
