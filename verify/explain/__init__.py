"""After a difference: which module, and which operation at which line, is the first that differs."""

from verify.explain.explainer import OF_VALUES, Explainer, Known

__all__ = ["OF_VALUES", "Explainer", "Known"]
