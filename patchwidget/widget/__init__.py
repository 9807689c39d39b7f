"""The live widget: activation patching that can be clicked, in a notebook."""

from .lab.widget import PatchLab

__all__ = ["PatchLab"]
