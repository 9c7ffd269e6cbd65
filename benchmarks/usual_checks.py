"""What people write by hand to compare two ports, each as a function from two models to whether it objects.

    python benchmarks/usual_checks.py    (run by benchmarks/detection.py)

Reads one JSON object a line: {"folder": where the two packages are, "fault": of a live module or null}, and answers each
with one: {check: "passes", "objects" or "raises", …}. Torch is imported once; each line is answered by a forked process.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers.activations
import transformers.modeling_layers
import transformers.modeling_outputs
import transformers.models.auto.auto_factory  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
SIZES = {
    "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 3, "num_channels": 5,
    "image_size": 24, "patch_size": 4,
}  # fmt: skip
"""The tiny variant of tests/mutations; no two sizes are equal."""
FIELDS = ("last_hidden_state", "pooler_output")

Model = Any


def built(module: str, name: str, seed: int) -> Model:
    """A model with its own initial values, in eval mode."""
    found = importlib.import_module(module)
    torch.manual_seed(seed)
    config = found.LlavaViTConfig(**SIZES)
    return getattr(found, name)(config).eval()


def pair(*, shared: bool) -> tuple[Model, Model]:
    """Reference and candidate at default initialisation; shared: with the reference's weights in both."""
    reference = built("model_factory.vit_preview_v0_hf", "LlavaViTModel", 0)
    candidate = built("llavavit.modeling_llava_vit", "LlavaViTModel", 1)
    if shared:
        candidate.load_state_dict(reference.state_dict())
    return reference, candidate


def image() -> torch.Tensor:
    """One image at the native size."""
    return torch.randn(1, SIZES["num_channels"], 24, 24, generator=torch.Generator().manual_seed(7))


def outputs(reference: Model, candidate: Model, **more: Any) -> tuple[Any, Any]:
    with torch.no_grad():
        return reference(pixel_values=image(), **more), candidate(pixel_values=image(), **more)


def names_and_shapes() -> None:
    """State dicts of one form, and outputs of one shape, with other weights in each."""
    reference, candidate = pair(shared=False)
    left, right = ({n: tuple(t.shape) for n, t in m.state_dict().items()} for m in (reference, candidate))
    assert left == right
    a, b = outputs(reference, candidate)
    assert all(a[name].shape == b[name].shape for name in FIELDS)


def allclose() -> None:
    """torch.allclose in float32 with atol 1e-5 on one image at default initialisation."""
    a, b = outputs(*pair(shared=True))
    assert all(torch.allclose(a[name], b[name], atol=1e-5) for name in FIELDS)


def cosine() -> None:
    """Cosine similarity above 0.99 for every token and the pooled output."""
    a, b = outputs(*pair(shared=True))
    assert all(bool((torch.cosine_similarity(a[n], b[n], dim=-1) > 0.99).all()) for n in FIELDS)


def assert_close() -> None:
    """torch.testing.assert_close with its own tolerances on every output, hidden states and attentions too."""
    a, b = outputs(*pair(shared=True), output_hidden_states=True, output_attentions=True)
    torch.testing.assert_close(dict(b), dict(a))


def pytest_torch() -> None:
    """pytest-torch: assert_matches_reference on shared weights, and check_inference_contract on the candidate."""
    from pytest_torch import assert_matches_reference, check_inference_contract

    reference, candidate = pair(shared=True)
    batch = {"pixel_values": torch.cat([image(), -image(), image().flip(-1)])}
    assert_matches_reference(candidate, reference, batch)
    check_inference_contract(candidate, batch)


CHECKS: dict[str, Callable[[], None]] = {
    "names and shapes": names_and_shapes,
    "fp32 allclose": allclose,
    "cosine > 0.99": cosine,
    "assert_close": assert_close,
    "pytest-torch": pytest_torch,
}


def verdict(check: Callable[[], None]) -> str:
    try:
        check()
    except AssertionError:
        return "objects"
    except Exception:  # a crash is seen by whoever runs the check
        return "raises"
    return "passes"


def answered(about: dict[str, Any]) -> dict[str, str]:
    """Runs every check in this process, which is spent afterwards."""
    sys.path.insert(0, about["folder"])
    os.chdir(about["folder"])
    if about["fault"]:
        _perturbed(about["fault"])
    return {name: verdict(check) for name, check in CHECKS.items()}


def _perturbed(fault: dict[str, Any]) -> None:
    """Every candidate that is built from now on has the fault."""
    place = ROOT / "verify" / "observer" / "perturb.py"
    found = importlib.util.spec_from_file_location("perturb", place)
    assert found is not None
    assert found.loader is not None
    perturb = importlib.util.module_from_spec(found)
    found.loader.exec_module(perturb)
    kind = importlib.import_module("llavavit.modeling_llava_vit").LlavaViTModel
    make = kind.__init__

    def made(model: Model, *args: Any, **kwargs: Any) -> None:
        make(model, *args, **kwargs)
        perturb.apply(model, fault)

    kind.__init__ = made


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, json.dumps(answered(json.loads(line))).encode())
            os._exit(0)
        os.close(write)
        with open(read, "rb") as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        print(said.decode() or json.dumps(dict.fromkeys(CHECKS, "raises")), flush=True)


if __name__ == "__main__":
    main()
