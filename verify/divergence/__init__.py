"""From two runs of one case to the first module, and the first operation, that differs."""

from verify.divergence.modules import divergence, first_module

__all__ = ["divergence", "first_module"]
