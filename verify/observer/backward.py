"""The second pass of gradients: every dispatched operation, as `operations` has it, and the gradient of each value made.

Gradients are kept as prints, taken by hooks while they flow back. The values of the forward pass are kept until it ends.
"""

from __future__ import annotations

from typing import Any

import torch

from . import prints
from .arithmetic import exact
from .build import Builder
from .forward import call, load_inputs, prepared
from .gradients import losses
from .operations import Plan, Recorder, names_of
from .randomness import Injected
from .training import training
from .values import describe, flatten


class Backward(Recorder):
    """Records a forward pass; `watch`, called after it, and before the backward pass, follows the gradients."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gradients: dict[int, list[float]] = {}
        self.required: list[int] = []
        """Values that take part in training, whether or not a gradient reaches them."""
        self._held: dict[int, list[tuple[int, torch.Tensor]]] = {}
        """By storage the values whose place in autograd's graph is not known yet."""

    def _new(self, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        number = super()._new(tensor, *args, **kwargs)
        if tensor.is_floating_point() or tensor.is_complex():
            self._held.setdefault(tensor.untyped_storage()._cdata, []).append((number, tensor))
        return number

    def before_write(self, tensors: list[torch.Tensor]) -> None:
        """What a write is about to change stands for another value afterwards: it is followed from here on."""
        for tensor in tensors:
            self._follow(self._held.pop(tensor.untyped_storage()._cdata, []))

    def watch(self) -> None:
        """Autograd is above the dispatcher: what an operation makes has its place in the graph only later."""
        for held in self._held.values():
            self._follow(held)
        self._held = {}

    def _follow(self, held: list[tuple[int, torch.Tensor]]) -> None:
        for number, tensor in held:
            if tensor.requires_grad:
                self.required.append(number)
                tensor.register_hook(lambda grad, number=number: self._reached(number, grad))

    def _reached(self, number: int, grad: torch.Tensor | None) -> None:
        if grad is None:  # of one output of several, where only the others were used
            return
        real = torch.view_as_real(grad) if grad.is_complex() else grad
        self.gradients[number] = prints.vector(real)


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `gradients`, and field: the output whose gradients differ, in the reference's words.

    One pass whose draws are even, so that both sides drop alike. Returns what `operations` does of a recorded pass,
    required (numbers of values that take part in training) and graded (numbers of those that a gradient reached), with
    the array `gradients`, prints of these [len(graded), prints.WHOLE].
    """
    built = prepared(builder, args)
    inputs = load_inputs(args, built, builder)
    for tensor in inputs.values():
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
            tensor.requires_grad_(True)
    draws = Injected(builder.settings["seed"], builder.settings["path"], even=True)
    names = names_of(args, builder.settings["role"])
    words = args["words"] if builder.settings["role"] == "candidate" else []
    recorder = Backward(built.model, inputs, builder.settings["path"], Plan(), names)
    try:
        with training(built.model), draws:
            with recorder, exact(built.exact):
                output = call(builder, built.model, inputs)
            recorder.watch()
            found = losses(output, words)
            if args["field"] in found:
                found[args["field"]].backward()
        outputs = [[path, recorder.number(v)] for path, v in flatten(output) if isinstance(v, torch.Tensor)]
    finally:
        recorder.remove()
        for tensor in (*built.model.parameters(), *(v for v in inputs.values() if isinstance(v, torch.Tensor))):
            tensor.grad = None
    graded = sorted(recorder.gradients)
    arrays = recorder.arrays()
    arrays["gradients"] = torch.tensor([recorder.gradients[n] for n in graded], dtype=torch.float64).reshape(
        -1, prints.WHOLE
    )
    about = {"outputs": outputs, "required": sorted(set(recorder.required)), "graded": graded}
    tensors = [{"name": n, **describe(t)} for n, t in arrays.items()]
    return {**recorder.graph(), **about, "tensors": tensors, "arrays": arrays}
