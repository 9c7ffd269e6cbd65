# SPDX-License-Identifier: Apache-2.0
"""Both models of a variant without weights: what they expect, and the training model with given weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import llavavit
from model_factory.registry import VARIANTS, create_model
from verify.observer.build import parameters_on_meta

from .checkpoint import Checkpoint, Shape, likely, misfit, shapes
from .errors import PublishError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def training_outline(name: str) -> nn.Module:
    """The training model with parameters on the meta device and its buffers filled."""
    with parameters_on_meta():
        return create_model(name).eval()


def hub_config(name: str, dtype: torch.dtype) -> Any:
    """The Hub package's configuration of a variant, as a saved model of it has it."""
    config = llavavit.LlavaViTConfig(**VARIANTS[name])
    config.architectures = [llavavit.LlavaViTModel.__name__]
    config.dtype = dtype
    return config


def expected(name: str) -> dict[str, Shape]:
    """Names and shapes of a variant's state dict. Raises PublishError where the two implementations do not agree."""
    with parameters_on_meta():
        hub = llavavit.LlavaViTModel(hub_config(name, torch.float32))
    trained, published = shapes(training_outline(name)), shapes(hub)
    if trained != published:
        odd = sorted(k for k in trained.keys() | published.keys() if trained.get(k) != published.get(k))
        raise PublishError(f"{name}: the training model and llavavit/ differ in {', '.join(odd)}; run llavavit-verify")
    return trained


def check(checkpoint: Checkpoint, name: str) -> None:
    """Raises PublishError, with every key that does not fit and the likely variant, unless the checkpoint is of `name`."""
    found = misfit(checkpoint.tensors, expected(name))
    if found.count:
        hint = likely(checkpoint.tensors, {other: shapes(training_outline(other)) for other in VARIANTS})
        raise PublishError(f"the checkpoint is no {name}:\n{found}\n{hint}")
    odd = [f"{n} ({t.dtype})" for n, t in checkpoint.tensors.items() if t.dtype not in DTYPES.values()]
    if odd:
        raise PublishError(f"only {', '.join(DTYPES)} can be published; these are of another type: {', '.join(odd)}")


def published_dtype(checkpoint: Checkpoint, asked: str | None) -> torch.dtype:
    """The dtype to publish in: the one asked for, else the checkpoint's own. Raises PublishError where that is unclear."""
    if asked is not None:
        return DTYPES[asked]
    if len(checkpoint.dtypes) > 1:
        mixed = ", ".join(str(d).removeprefix("torch.") for d in checkpoint.dtypes)
        raise PublishError(f"the checkpoint mixes {mixed}; choose one with --dtype")
    return checkpoint.dtypes[0]


def trained(name: str, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> nn.Module:
    """The training model with these weights in `dtype`, in eval mode. Weights of that dtype are not copied."""
    model = training_outline(name)
    model.load_state_dict({n: t.to(dtype) for n, t in tensors.items()}, strict=True, assign=True)
    return model
