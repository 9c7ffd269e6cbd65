"""save_pretrained, then from_pretrained and AutoModel in a fresh process: does every value come back?"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from .build import Builder
from .faults import Unusable
from .initialisation import digest

DIRTY_BYTES = 64 * 2**20


def save(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), code {role: files to put beside the checkpoint, relative to the side's folder}.

    Writes a checkpoint of a model with drawn float32 weights. Returns tensors {name: digest} of every parameter and
    buffer, saved or not; saved {key: digest} of the safetensors files; and the class's name. Unusable where the model
    has no save_pretrained.
    """
    model = builder.built(args["values"], "fp32").model
    if not callable(getattr(model, "save_pretrained", None)):
        raise Unusable(f"{type(model).__name__} has no save_pretrained()")
    folder = _folder(builder)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    for file in args["code"][builder.settings["role"]]:
        shutil.copy(os.path.join(builder.settings["path"], file), folder)
    saved = [pair for file in sorted(Path(folder).glob("*.safetensors")) for pair in load_file(file).items()]
    found = {"tensors": _tensors(model), "saved": {k: digest(v) for k, v in saved}, "class": type(model).__name__}
    builder.release()
    return found


def load(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), auto (through AutoModel and the code beside the checkpoint). Loads twice.

    Memory is dirtied first: a buffer that loading leaves unset then holds noise and not, by luck, zeros.
    Returns loads [{tensors {name: digest}, report {missing_keys, …: [names]}, class, remote}]. remote: whether the class
    came from the code beside the checkpoint.
    """
    if args["auto"]:
        kind = importlib.import_module("transformers").AutoModel
        own = os.path.join(builder.settings["scratch"], "modules")  # this side's, not shared with the other
        remote: Any = importlib.import_module("transformers.dynamic_module_utils")
        remote.HF_MODULES_CACHE = own
    else:
        kind = type(builder.outline(args["values"])[0])
        if not callable(getattr(kind, "from_pretrained", None)):
            raise Unusable(f"{kind.__name__} has no from_pretrained()")
    return {"loads": [_loaded(kind, _folder(builder), auto=args["auto"]) for _ in range(2)]}


def _folder(builder: Builder) -> str:
    return os.path.join(builder.settings["scratch"], "checkpoint")


def _loaded(kind: Any, folder: str, *, auto: bool) -> dict[str, Any]:
    _dirty()
    library = sys.modules.get("transformers.modeling_utils")
    told: dict[str, Any] = {}
    if auto:
        model, told = kind.from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
    elif library is not None and issubclass(kind, library.PreTrainedModel):
        model, told = kind.from_pretrained(folder, output_loading_info=True)
    else:
        model = kind.from_pretrained(folder)
    return {
        "tensors": _tensors(model),
        "report": {key: sorted(map(str, names)) for key, names in told.items() if not isinstance(names, str) and names},
        "class": type(model).__name__,
        "remote": type(model).__module__.startswith("transformers_modules"),
    }


def _tensors(model: nn.Module) -> dict[str, str]:
    """Digest of every parameter and buffer by name; one left on the meta device is "unset"."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: "unset" if tensor.is_meta else digest(tensor) for name, tensor in named}


def _dirty() -> None:
    """Fills and frees memory, small blocks and large, so that what follows is given used pages."""
    with contextlib.suppress(MemoryError, RuntimeError):
        blocks = [torch.full((size,), 7.7e33) for size in (4, 16, 64, 256, 1024, 16_384) for _ in range(64)]
        blocks.append(torch.full((DIRTY_BYTES // 4,), 7.7e33))
        del blocks
