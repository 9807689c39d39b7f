"""Which model a vector was made on: its name and a hash of its weights, so that a vector on another model does not go unnoticed."""

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from patchwidget.models.weights_hash import weights_hash
from patchwidget.models.wrapped import WrappedModel


def provenance_of(model: WrappedModel) -> dict[str, Any]:
    """Model, type, weights' hash, dtype and date (UTC), as plain data."""
    return {
        "model": model.name,
        "model_type": getattr(getattr(model.hf, "config", None), "model_type", type(model.hf).__name__),
        "weights": weights_hash(model.hf),
        "dtype": str(model.dtype).removeprefix("torch."),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def warn_if_other(model: WrappedModel, provenance: Mapping[str, Any]) -> None:
    """Warn, naming both, where a vector was made on other weights than this model has; silent where that is not known."""
    made_on = provenance.get("weights")
    here = weights_hash(model.hf) if made_on else None
    if here and made_on != here:
        warnings.warn(
            f"This steering vector was made on {provenance.get('model')} (weights {made_on}), and is applied to {model.name} (weights {here}).",
            stacklevel=2,
        )
