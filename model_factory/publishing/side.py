# SPDX-License-Identifier: Apache-2.0
"""One side of the comparison with real weights, in a process of its own.

    python -m model_factory.publishing.side REQUEST.json

Runs a model in float64 one block at a time: a block's weights are float64 only while the block runs, so that memory
stays near one copy of the weights as they are stored. REQUEST and answer are plain data, see `gate`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model_factory.publishing import checkpoint, models
from verify.observer.arithmetic import exact, nudge
from verify.observer.values import flatten

NUDGE_SEED = 20_011


def main(request: dict[str, Any]) -> dict[str, Any]:
    """request: role ("reference", "candidate"), model_name, dtype, source (checkpoint, or staged folder), ema, cases
    {name: {inputs (safetensors file), arguments}}, out (folder), buffers (file with the reference's buffers, which the
    candidate takes for its passes).

    Writes NAME.safetensors for each case, for the reference also NAME.noise.safetensors (all moved by one unit in the
    last place), and buffers.safetensors. Returns digests {name: digest} of the weights, class, remote, missing, memory.
    """
    out = Path(request["out"])
    missing: dict[str, list[str]] = {}
    if request["role"] == "reference":
        weights = checkpoint.load(Path(request["source"]), ema=request["ema"])
        model = models.trained(request["model_name"], weights.tensors, models.DTYPES[request["dtype"]])
        del weights
    else:
        model, missing = _published(request["source"])
    about = {
        "digests": {name: digest(tensor) for name, tensor in model.named_parameters()},
        "class": type(model).__name__,
        "remote": type(model).__module__.startswith("transformers_modules"),
        "missing": missing,
    }
    buffers = dict(model.named_buffers())
    save_file({name: b.detach().clone() for name, b in buffers.items()}, out / "buffers.safetensors")
    if request["role"] == "candidate":
        _share(buffers, load_file(request["buffers"]))
    for name, case in request["cases"].items():
        save_file(run(model, case), out / f"{name}.safetensors")
        if request["role"] == "reference":
            save_file(run(model, case, nudged=True), out / f"{name}.noise.safetensors")
    return {**about, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _published(folder: str) -> tuple[nn.Module, dict[str, list[str]]]:
    """What anyone gets from the folder, and what loading says is missing, unexpected or mismatched."""
    from transformers import AutoModel

    model, told = AutoModel.from_pretrained(
        folder, trust_remote_code=True, dtype="auto", output_loading_info=True, low_cpu_mem_usage=True
    )
    return model.eval(), {k: sorted(map(str, v)) for k, v in told.items() if not isinstance(v, str) and v}


def _share(buffers: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
    """Gives buffers the reference's values, once these were written out to be compared: two roundings of one formula
    in float32 would show in a float64 pass."""
    for name, buffer in buffers.items():
        if name in others and others[name].shape == buffer.shape:
            buffer.data.copy_(others[name])


def digest(tensor: Tensor) -> str:
    """Of dtype, shape and values to the bit."""
    head = f"{tensor.dtype} {list(tensor.shape)}".encode()
    data = tensor.detach().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.blake2b(data, key=hashlib.blake2b(head).digest(), digest_size=16).hexdigest()


def run(model: nn.Module, case: Mapping[str, Any], *, nudged: bool = False) -> dict[str, Tensor]:
    """One forward pass in float64: every tensor that came out, float64 or int64, by path. nudged: inputs and weights
    are moved by one unit in the last place."""
    inputs: dict[str, Any] = dict(case["arguments"])
    for index, (name, tensor) in enumerate(sorted(load_file(case["inputs"]).items())):
        if tensor.is_floating_point():
            tensor = tensor.double()
            if nudged:
                nudge(tensor, NUDGE_SEED - 1 - index)
        inputs[name] = tensor
    with torch.no_grad(), widened(model, nudged=nudged), exact(True):
        found = [(path, value) for path, value in flatten(model(**inputs)) if isinstance(value, Tensor)]
    return {p: v.to(torch.float64 if v.is_floating_point() else torch.int64).contiguous().clone() for p, v in found}


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """A partition of the modules that hold parameters into those that run at once: children, or a list's elements."""
    for child in model.children():
        if any(isinstance(inner, nn.ModuleList) for inner in child.modules()):
            yield from blocks(child)
        elif any(True for _ in child.parameters()):
            yield child


@contextlib.contextmanager
def widened(model: nn.Module, *, nudged: bool) -> Iterator[None]:
    """Within, a block's parameters are float64 while it runs, moved by one unit in the last place if `nudged`."""
    numbers = {id(p): index for index, p in enumerate(model.parameters())}
    covered = {id(p) for block in blocks(model) for p in block.parameters()}
    if covered != set(numbers):
        raise RuntimeError("a parameter belongs to no block, so it would not be moved with the others")
    kept: dict[int, list[tuple[nn.Module, str, nn.Parameter]]] = {}

    def before(block: nn.Module, *_: Any) -> None:
        own = [(m, n, p) for m in block.modules() for n, p in m._parameters.items() if p is not None]
        kept[id(block)] = own
        for module, name, parameter in own:
            wide = parameter.detach().double()
            if nudged:
                nudge(wide, NUDGE_SEED + numbers[id(parameter)])
            module._parameters[name] = nn.Parameter(wide, requires_grad=False)

    def after(block: nn.Module, *_: Any) -> None:
        for module, name, parameter in kept.pop(id(block)):
            module._parameters[name] = parameter

    handles = []
    for block in blocks(model):
        handles += [block.register_forward_pre_hook(before), block.register_forward_hook(after, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(asked["threads"])
    Path(asked["out"], "answer.json").write_text(json.dumps(main(asked)), encoding="utf-8")
