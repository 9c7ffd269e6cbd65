# SPDX-License-Identifier: Apache-2.0
"""Both implementations side by side, in sizes that a single core runs at once."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import llavavit  # noqa: E402
from model_factory import vit_preview_v0_hf  # noqa: E402

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 2,
    "image_size": 8,
}
SIDES = {"hub": llavavit, "factory": vit_preview_v0_hf}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from more, and several test runs may share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=list(SIDES))
def side(request: pytest.FixtureRequest) -> ModuleType:
    """Each implementation in turn."""
    return SIDES[request.param]


@pytest.fixture(scope="session")
def build() -> Callable[..., torch.nn.Module]:
    """`build(side, **values)`: one small model, initialised from seed 0."""

    def make(module: ModuleType, **values: object) -> torch.nn.Module:
        torch.manual_seed(0)
        return module.LlavaViTModel(module.LlavaViTConfig(**{**SMALL, **values})).eval()

    return make


@pytest.fixture(scope="session")
def generic() -> Callable[[torch.nn.Module], torch.nn.Module]:
    """`generic(model)`: the model in float64 with weights in generic position: no zeros, no ones, attention far from
    uniform."""

    def fill(model: torch.nn.Module) -> torch.nn.Module:
        model.double()
        with torch.no_grad():
            for seed, (name, parameter) in enumerate(model.named_parameters()):
                draw = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
                is_norm_weight = "norm" in name and name.endswith("weight")
                parameter.copy_(draw * 0.3 + (1.0 if is_norm_weight else 0.0))
        return model

    return fill


@pytest.fixture(scope="session")
def pair(build, generic) -> Callable[..., SimpleNamespace]:
    """`pair(**values)`: both models in float64, sharing one state dict in generic position."""

    def make(**values: object) -> SimpleNamespace:
        hub, factory = generic(build(llavavit, **values)), build(vit_preview_v0_hf, **values).double()
        factory.load_state_dict(hub.state_dict(), strict=True)
        return SimpleNamespace(hub=hub, factory=factory)

    return make


@pytest.fixture
def warnings_logged() -> Iterator[list[str]]:
    """Messages that the two model files log from here on, with transformers' memory of past warnings cleared."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.Logger.warning_once.cache_clear()  # installed by transformers
    loggers = [logging.getLogger(name) for name in ("llavavit.modeling_llava_vit", vit_preview_v0_hf.__name__)]
    for logger in loggers:
        logger.addHandler(handler)
    yield messages
    for logger in loggers:
        logger.removeHandler(handler)
