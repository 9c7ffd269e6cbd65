"""Runs one case and writes every output: names, shapes, dtypes, None-ness, values."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from . import leftover
from .advance import NOTHING, advanced
from .arithmetic import exact, nudge
from .build import DTYPES, Builder, Built
from .calls import repeatable
from .faults import Unfit
from .values import container, containers, describe, flatten, ordered

NUDGE_SEED = 20_011
UNNAMED = "an_argument_that_nobody_named"
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), arithmetic ("fp64" or "fp32"), inputs (safetensors file), arguments (plain forward
    arguments), nudged (move inputs and weights by one unit in the last place), rows (only so many of the batch; default:
    all), by_place (every argument that can come so, those between with their defaults), unnamed (one argument more, UNNAMED),
    configured (entries of the configuration that the model holds, set for this call), again (the second call in a row, see `calls`), strided (tensors of another layout in memory), advanced (with other values in saved flags and counters, see
    `advance`).

    Returns outputs [{path, kind, shape, dtype, value}], the container's kind, whether it has an order to count by, how
    its parts and those of containers in it are had, configured: those of the entries that were taken, in the
    reference's words, entries: those that the configuration has, and arrays: the tensors by path. written: inputs, in the reference's
    words, that the call changed. left: what it left changed of the process, see `leftover`. shared {path: "an input's" or "a parameter's"}: outputs that lie in the memory of one.
    tracked: outputs that are recorded for gradients though the call is not. advanced: names of the flags and counters; where there are none, nothing has run.
    """
    with advanced(builder, args) as moved:
        return {**NOTHING} if moved == [] else {**_observed(builder, args), "advanced": moved or []}


def _observed(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    built = prepared(builder, args)
    left: dict[str, str] = {}
    names, config = builder.settings["renames"]["config"], getattr(built.model, "config", None)

    def run() -> Any:
        inputs = load_inputs(args, built, builder)
        if args.get("strided"):
            inputs = {name: _strided(value) for name, value in inputs.items()}
        if args.get("unnamed"):
            inputs[UNNAMED] = True
        given = {name: value.clone() for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        with (
            torch.no_grad(),
            leftover.watching() as found,
            exact(built.exact) as lifted,
            leftover.configuration(config, left),
        ):
            output = call(builder, built.model, inputs, by_place=args.get("by_place", False))
        left.update(found)
        return output, lifted, inputs, given

    torch.manual_seed(leftover.SEED)
    with _configured(built.model, {names.get(k, k): v for k, v in args.get("configured", {}).items()}) as could:
        output, lifted, inputs, given = repeatable(builder, built.model, run, again=args.get("again", False))
    written = [name for name, value in given.items() if not torch.equal(value, inputs[name])]
    ours = {theirs: name for name, theirs in builder.settings["renames"]["inputs"].items()}
    leaves = list(flatten(output))
    return {
        "container": container(output),
        "ordered": ordered(output),
        "containers": dict(containers(output)),
        "outputs": [{"path": path, **describe(value)} for path, value in leaves],
        "arrays": {path: value for path, value in leaves if isinstance(value, torch.Tensor)},
        "exact": built.exact,
        "lifted": lifted.count + built.lifted,
        "note": built.note,
        "left": left,
        "written": sorted(ours.get(name, name) for name in written),
        "tracked": [path for path, leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.requires_grad],
        "shared": dict(_shared(leaves, [inputs[name] for name in given], list(built.model.parameters()))),
        "configured": [key for key in args.get("configured", {}) if names.get(key, key) in could],
        "entries": [key for key in args.get("configured", {}) if hasattr(config, names.get(key, key))],
        "told": {key: _told(built.model, names.get(key, key)) for key in args.get("told", [])},
    }


@contextlib.contextmanager
def _configured(model: nn.Module, entries: dict[str, Any]) -> Iterator[set[str]]:
    """Within, the configuration that a model holds has these entries, as far as it takes them. Yields the names of those that
    it took. Afterwards all its entries are as before: setting one may set others, as that of attentions does in
    transformers."""
    config = getattr(model, "config", None)
    before = {name: getattr(config, name) for name in entries if hasattr(config, name)}
    held = vars(config) if before and hasattr(config, "__dict__") else {}
    whole, took = dict(held), set[str]()
    try:
        for name in before:
            with contextlib.suppress(Exception):  # a configuration may refuse what does not fit its other entries
                setattr(config, name, entries[name])
                took.add(name)
        yield took
    finally:
        for name, value in before.items():
            with contextlib.suppress(Exception):
                setattr(config, name, value)
        held.clear()
        held.update(whole)


def call(builder: Builder, model: nn.Module, inputs: dict[str, Any], *, by_place: bool = False) -> Any:
    """The model's output. by_place: see `by_place_all`. Raises Unfit where a case of the spec gives the reference arguments that it does not take: the
    reference says what a case may be, so that is the spec's mistake and no difference."""
    ordered, named = (by_place_all if by_place else placed)(model, inputs)
    try:
        return model(*ordered, **named)
    except TypeError as error:
        if builder.settings["role"] == "reference" and UNNAMED not in inputs:
            arguments = inspect.signature(model.forward)
            try:
                arguments.bind(*ordered, **named)
            except TypeError as unfit:
                raise Unfit(_unfit(arguments, inputs, unfit)) from error
        raise


def _strided(value: Any) -> Any:
    """The same values in another layout: a tensor of several axes whose first and last lie the other way round, one of
    one axis with gaps. Such are what transposing, cutting and collating give."""
    if not isinstance(value, torch.Tensor) or value.numel() < 2 or value.layout != torch.strided:
        return value
    if value.ndim == 1:
        return torch.stack([value, value], dim=-1)[:, 0]
    return value.transpose(0, -1).contiguous().transpose(0, -1)


def _shared(
    leaves: list[tuple[str, Any]], inputs: list[torch.Tensor], parameters: list[nn.Parameter]
) -> Iterator[tuple[str, str]]:
    """Outputs that lie in the memory of an input or of a parameter, so that who writes to one writes to the other."""
    kinds = (("a parameter's", parameters), ("an input's", inputs))
    holds = {t.untyped_storage().data_ptr(): kind for kind, tensors in kinds for t in tensors if t.numel()}
    for path, leaf in leaves:
        if isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided and leaf.numel():
            kind = holds.get(leaf.untyped_storage().data_ptr())
            if kind is not None:
                yield path, kind


def _unfit(arguments: inspect.Signature, inputs: dict[str, Any], error: TypeError) -> str:
    """What is wrong with a case, as far as the signature tells."""
    known = arguments.parameters.values()
    lacking = [p.name for p in known if p.default is p.empty and p.kind not in VARIADIC and p.name not in inputs]
    unknown = [name for name in inputs if name not in arguments.parameters]
    if lacking:
        return f"lacks the input {', '.join(f'`{name}`' for name in lacking)}, which the reference's forward{arguments} needs"
    if unknown:
        return f"gives {', '.join(f'`{name}`' for name in unknown)}, which the reference's forward{arguments} does not take"
    return f"does not fit the reference's forward{arguments}: {error}"


def placed(model: nn.Module, inputs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """What a model takes by place and what by name. `*xs` gets what is given under its name item by item, a tensor along
    its first axis, and what stands before it must then come by place too."""
    known = inspect.signature(model.forward).parameters.values()
    star = next((p.name for p in known if p.kind is p.VAR_POSITIONAL and p.name in inputs), None)
    ordered, named = list[Any](), dict(inputs)
    for p in known:
        if p.name == star:
            return [*ordered, *named.pop(p.name)], named
        if p.name not in named or (p.kind is not p.POSITIONAL_ONLY and star is None):
            break
        ordered.append(named.pop(p.name))
    return ordered, named


def by_place_all(model: nn.Module, inputs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """As `placed`, with everything by place that its signature lets come so, up to the last that is given."""
    known = list(inspect.signature(model.forward).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in known):
        return placed(model, inputs)
    places = [p for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    last = max((n for n, p in enumerate(places, 1) if p.name in inputs), default=0)
    if any(p.default is p.empty and p.name not in inputs for p in places[:last]):
        return placed(model, inputs)
    ordered = [inputs.get(p.name, p.default) for p in places[:last]]
    return ordered, {name: value for name, value in inputs.items() if name not in {p.name for p in places[:last]}}


def _told(model: nn.Module, key: str) -> Any:
    """What the model's configuration says of a key. transformers keeps some under the name with an underscore."""
    config = getattr(model, "config", None)
    found = getattr(config, f"_{key}", None)
    found = getattr(config, key, None) if found is None else found
    return found if isinstance(found, bool | int | float | str) else None


def prepared(builder: Builder, args: dict[str, Any]) -> Built:
    """The built model, its weights nudged or not as `args` asks."""
    built = builder.built(args["values"], args["arithmetic"], args.get("recipes"))
    if built.nudged != args["nudged"]:
        for index, parameter in enumerate(built.model.parameters()):
            nudge(parameter.data, NUDGE_SEED + index, 1 if args["nudged"] else -1)
        built.nudged = args["nudged"]
    return built


def load_inputs(args: dict[str, Any], built: Built, builder: Builder, prefix: str = "") -> dict[str, Any]:
    """The case's arguments by this side's names: tensors on the device, floats in the run's dtype or in what `args`
    names as inputs_as, nudged by one ulp where asked; and the plain ones. prefix: of several draws in the file, the one whose names
    begin so."""
    inputs = dict(args["arguments"])
    with safe_open(args["inputs"], framework="pt") as file:  # of many draws, only the one
        names = [n for n in file.keys() if n.startswith(prefix)]  # noqa: SIM118
        # copies, because all tensors of one open file lie in one storage, by which a tensor is known elsewhere
        tensors = {n.removeprefix(prefix): file.get_tensor(n).clone() for n in names}
    for index, (name, tensor) in enumerate(sorted(tensors.items())):
        if tensor.is_floating_point():
            given = DTYPES[args["inputs_as"]] if "inputs_as" in args else built.dtype
            tensor = tensor.to(DTYPES[args["through"]] if "through" in args else given).to(given)
            if args["nudged"]:
                nudge(tensor, NUDGE_SEED - 1 - index)
        rows = args.get("rows")
        inputs[name] = (tensor if rows is None else tensor[:rows]).to(builder.device)
    names = builder.settings["renames"]["inputs"]
    return {names.get(name, name): value for name, value in inputs.items()}
