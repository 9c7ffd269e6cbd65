"""Gradients of every output with respect to every parameter and floating input, as fingerprints."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..weights import stream
from . import dispatched, matter
from .arithmetic import exact
from .build import Builder
from .faults import Unusable
from .forward import call, load_inputs, prepared
from .randomness import Injected
from .training import training
from .values import dense, flatten, project

PROJECTIONS = 8
ROUNDING = {True: 1e-9, False: 1e-4}
"""Gradients below this share of an output's largest may be rounding alone, in exact arithmetic and otherwise."""


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `forward`, checkpointing (whether activations are computed again in the backward pass), words (rules
    from the candidate's output paths to the reference's: regular expressions and templates) and evaluated (whether in
    eval mode).

    Runs in train mode with injected random draws, because that is when gradients are taken. For each output field
    (hidden states count as one) the gradient of a seeded projection of it. Returns fields {field: {parameter or
    "input:name": fingerprint or None}}, names in the reference's words, recomputed (how many operations of the backward
    passes computed activations again) and draws (see `Injected`). None: not connected. even, even_draws: fields and draws
    of a second pass whose draws are even, where the first drew anything and computes nothing again. tried: where `args` names a file with other inputs as
    redrawn, what no gradient shows to move an output, and whether it does (see `matter.tried`).
    """
    draws = Injected(builder.settings["seed"], builder.settings["path"])
    found = _pass(builder, args, draws)
    if draws.draws and not args["checkpointing"]:
        evenly = Injected(builder.settings["seed"], builder.settings["path"], even=True)
        even = _pass(builder, args, evenly)
        found["even"] = even["fields"]
        found["even_draws"] = evenly.draws
    if args.get("redrawn"):
        found["tried"] = _tried(builder, args, found)
    return {**found, "draws": draws.draws}


def _tried(builder: Builder, args: dict[str, Any], found: dict[str, Any]) -> dict[str, bool | None]:
    """What moves an output though the gradients of a pass do not show it. Frozen parameters are first let have gradients, all of
    them in one pass: there can be many."""
    shown = _shown(found)
    frozen = [p for p in prepared(builder, args).model.parameters() if not p.requires_grad]
    thawed: set[str] = set()
    if frozen:
        try:
            for parameter in frozen:
                parameter.requires_grad_(True)
            draws = Injected(builder.settings["seed"], builder.settings["path"])
            thawed = _shown(_pass(builder, args, draws)) - shown
        except Exception:  # a model that relies on their being frozen: they are tried one by one
            builder.release()
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)
    return dict.fromkeys(thawed, True) | matter.tried(builder, args, shown | thawed)


def _shown(found: dict[str, Any]) -> set[str]:
    """Names of which a pass has gradients that are not zero but for rounding."""
    names = set()
    for grads in found["fields"].values():
        least = ROUNDING[found["exact"]] * max((g[0] for g in grads.values() if g), default=0.0)
        names |= {name for name, grad in grads.items() if grad and not grad[0] <= least}
    return names


def _pass(builder: Builder, args: dict[str, Any], draws: Injected) -> dict[str, Any]:
    """Fields of one pass with these draws."""
    built = prepared(builder, args)
    inputs = load_inputs(args, built, builder)
    watched = {f"input:{n}": t for n, t in inputs.items() if isinstance(t, torch.Tensor) and t.is_floating_point()}
    for tensor in watched.values():
        tensor.requires_grad_(True)
    theirs = builder.settings["role"] == "candidate"
    recipes = (args.get("recipes") or {}) if theirs else {}
    leaves = {**_parameters(built.model, recipes), **watched}
    names = {v: k for k, v in builder.settings["renames"]["inputs"].items()}
    mode = training(built.model, not args.get("evaluated", False))
    with mode, checkpointing(built.model, args["checkpointing"]), exact(built.exact) as lifted, draws:
        sums = losses(call(builder, built.model, inputs), args["words"] if theirs else [])
        with _Recomputing() as again:
            grads = {field: _gradients(loss, leaves) for field, loss in sums.items()}
    fields = {}
    for field, found in grads.items():
        named = _in_reference_words(found, recipes, names)
        fields[field] = {name: None if g is None else fingerprint(g) for name, g in named.items()}
    about = {"exact": built.exact, "lifted": lifted.count + built.lifted, "note": built.note}
    return {"fields": fields, "recomputed": again.count, **about}


class _Recomputing(TorchDispatchMode):  # type: ignore[misc]
    """Within, counts the operations of a backward pass that could be differentiated: its own could not, nor could those of
    hooks in it; those that compute activations again could, be it in modules or in functions."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += torch.is_grad_enabled() and torch._C._current_graph_task_id() != -1
        return dispatched.run(func, args, kwargs or {})


def _parameters(model: nn.Module, recipes: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What is trained, by name. A shared one goes by the name by which it is drawn, see `Builder`: of a head that one side
    makes a module of, and the other an operation, both sides know that name only."""
    names: dict[int, tuple[str, str]] = {}
    for full, parameter in model.named_parameters(remove_duplicate=False):
        word = recipes[full]["sources"][0] if full in recipes else full
        names[id(parameter)] = min(names.get(id(parameter), (word, full)), (word, full))
    return {names[id(p)][1]: p for p in model.parameters() if p.requires_grad}


@contextlib.contextmanager
def checkpointing(model: nn.Module, enabled: bool) -> Iterator[None]:
    """Within, the model computes activations again. Unusable where it offers no such thing."""
    if not enabled:
        yield
        return
    switch = getattr(model, "gradient_checkpointing_enable", None)
    if not callable(switch) or not getattr(model, "supports_gradient_checkpointing", True):
        raise Unusable(f"{type(model).__name__} offers no gradient checkpointing")
    switch()
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()


def _gradients(loss: torch.Tensor, leaves: dict[str, torch.Tensor]) -> dict[str, torch.Tensor | None]:
    """By leaf the gradient of the loss, None where it is not connected. The graph stays.

    Taken as training takes them: reentrant checkpointing, transformers' own before 5.0, knows no `torch.autograd.grad`.
    """
    for leaf in leaves.values():
        leaf.grad = None
    torch.autograd.backward([loss], retain_graph=True)
    # An embedding may give a sparse one, which has no projections.
    found = {n: g.to_dense() if (g := leaf.grad) is not None and g.is_sparse else g for n, leaf in leaves.items()}
    for leaf in leaves.values():
        leaf.grad = None
    return found


def losses(output: Any, words: list[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """By output field in the reference's words, the sum of seeded projections of its tensors that take part in
    training and hold something. A field is the first component of a path."""
    found: dict[str, torch.Tensor] = {}
    for path, leaf in flatten(output):
        if isinstance(leaf, torch.Tensor) and leaf.requires_grad and leaf.numel():
            # not by torch, whose draws are replaced here: the first tensor of a size would not get what the second does
            whole = dense(leaf)
            real = torch.view_as_real(whole.resolve_conj()) if whole.is_complex() else whole
            direction = torch.from_numpy(stream(0, f"direction/{real.numel()}").random(real.numel()) - 0.5)
            loss = real.flatten().double() @ direction.to(leaf.device)
            field = _renamed(path, words).partition(".")[0]
            found[field] = found[field] + loss if field in found else loss
    return found


def _renamed(path: str, words: list[tuple[str, str]]) -> str:
    """`path` by the first rule that matches it, or as it is."""
    matches = ((re.fullmatch(pattern, path), template) for pattern, template in words)
    return next((match.expand(template) for match, template in matches if match), path)


def _in_reference_words(
    grads: dict[str, torch.Tensor | None], recipes: dict[str, Any], inputs: dict[str, str]
) -> dict[str, torch.Tensor | None]:
    """Gradients by the reference's names: of a fused parameter its parts, of the pieces of a cut one the whole."""
    found: dict[str, torch.Tensor | None] = {}
    for name, grad in grads.items():
        recipe = recipes.get(name)
        if name.startswith("input:"):
            own = name.removeprefix("input:")
            found[f"input:{inputs.get(own, own)}"] = grad
        elif recipe is None:
            found[name] = grad
        elif grad is None:
            found.update(dict.fromkeys(recipe["sources"]))
        else:
            _undo(recipe, grad, found)
    return found


def _undo(recipe: dict[str, Any], grad: torch.Tensor, found: dict[str, torch.Tensor | None]) -> None:
    """Takes `weights.compose` back: writes the gradient of each source of a recipe into `found`."""
    axis, part, shapes = recipe["axis"], recipe["part"], recipe["shapes"]
    total = list(shapes[0])
    if total:
        total[axis] = sum(shape[axis] for shape in shapes) // (part[1] if part else 1)
    if recipe["transpose"]:
        total[0], total[1] = total[1], total[0]
    grad = grad.reshape(total)
    if recipe["transpose"]:
        grad = grad.transpose(0, 1)
    if part is None:
        pieces = grad.split([shape[axis] for shape in shapes], axis) if total else (grad,)
        found.update(zip(recipe["sources"], pieces, strict=True))
        return
    source = recipe["sources"][0]
    whole = found.get(source)
    if whole is None:
        found[source] = whole = grad.new_zeros(shapes[0])
    size = grad.shape[axis]
    whole.narrow(axis, part[0] * size, size).copy_(grad)


def fingerprint(grad: torch.Tensor) -> list[float]:
    """[norm, eight seeded random projections], float64."""
    x = dense(grad.detach()).double().flatten().cpu()
    return [x.norm().item(), *(projection.item() for projection in project(x, PROJECTIONS))]
