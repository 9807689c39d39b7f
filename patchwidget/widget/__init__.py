"""The live widget: activation patching that can be clicked, in a notebook."""

from .lab import PatchLab

__all__ = ["PatchLab"]
