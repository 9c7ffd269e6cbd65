"""What a model tells transformers of loading and placing it."""

from __future__ import annotations

import re
import sys
from typing import Any

from torch import nn

TOLD = ("base_model_prefix", "main_input_name")
"""What else a PreTrainedModel says of itself."""


def told(model: nn.Module) -> dict[str, Any] | None:
    """What a model tells transformers of loading and placing it; None of one that is no PreTrainedModel.

    kept whole: paths of modules that no device map may split. kept float32, kept float32 (strict): names of parameters and
    buffers that loading in a narrower type leaves alone. input, output embeddings: the parameters of the module that the
    model hands out as such; None for none. The rest is told as it is.
    """
    library = sys.modules.get("transformers.modeling_utils")
    if library is None or not isinstance(model, library.PreTrainedModel):
        return None
    whole = set(getattr(model, "_no_split_modules", None) or ())
    names = [
        n for n, _ in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    ]
    return {
        "kept whole": [p for p, m in model.named_modules() if type(m).__name__ in whole],
        "kept float32": _kept(model, "_keep_in_fp32_modules", names),
        "kept float32 (strict)": _kept(model, "_keep_in_fp32_modules_strict", names),
        "input embeddings": _handed(model, "get_input_embeddings"),
        "output embeddings": _handed(model, "get_output_embeddings"),
        **{name: str(getattr(model, name, None)) for name in TOLD},
        "supports": sorted(
            n for n in dir(type(model)) if n.startswith("_supports_") and getattr(model, n, None) is True
        ),
    }


def _kept(model: nn.Module, attribute: str, names: list[str]) -> list[str]:
    """Names that one of the patterns is a part of: whole components, where * stands for anything."""
    patterns = [re.escape(p).replace(r"\*", ".*") for p in getattr(model, attribute, None) or ()]
    return sorted(n for n in names if any(re.search(rf"(^|\.){p}($|\.)", n) for p in patterns))


def _handed(model: nn.Module, method: str) -> list[str] | None:
    """Names of the parameters of the module that a method gives, as the model calls them."""
    try:
        module = getattr(model, method)()
    except Exception:  # a model that has none may say so by raising
        return None
    if not isinstance(module, nn.Module):
        return None
    own = {id(p) for p in module.parameters()}
    return sorted(n for n, p in model.named_parameters(remove_duplicate=False) if id(p) in own)
