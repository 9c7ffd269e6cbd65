"""state_dict, then load_state_dict into another model of the class: does every value come back, and which other keys does
loading take?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from .build import Builder
from .training import same

MOST_TRIED = 16
"""So many keys that loading asks for beside a checkpoint's own are tried, each in the place of so many saved ones."""
PART = "part"
"""What a larger model calls this one."""
WHOLE = "(the model)"
"""What stands for a key where none is lost, but all."""
MOST_COPIED = 2**28
"""Elements that may be loaded while that is tried: of small models every saved key is."""


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration).

    Returns keys, all of the state dict; extra, those of them that are neither parameters nor buffers; lost {key: what is
    wrong after loading}; and takes {key: the saved key in whose place loading takes it}, as code for checkpoints with older
    names does; nested {key: what is wrong in a larger model, whose keys begin with a name}; and unknown, the keys that it asks for and that stand for none that was tried.
    """
    model = builder.built(args["values"], "fp32").model
    saved = model.state_dict()
    torch.manual_seed(builder.settings["seed"])
    fresh = builder.construct(args["values"]).to(builder.device)
    with _asked_for(fresh) as asked:
        told = fresh.load_state_dict(saved, strict=False)
    lost = dict.fromkeys(told.missing_keys, "is missing after loading")
    lost.update(dict.fromkeys(told.unexpected_keys, "is saved and not loaded"))
    for key, came in fresh.state_dict().items():
        if key in saved and key not in lost and not _alike(saved[key], came):
            lost[key] = "holds other values than were saved"
    tensors = {
        name
        for name, _ in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    }
    nested = {} if lost else _nested(model, fresh, saved)
    more = [] if lost else [key for key in asked if key not in saved]
    takes = dict(_taken(fresh, saved, more))
    found = {
        "keys": list(saved),
        "extra": [key for key in saved if key not in tensors],
        "lost": lost,
        "takes": takes,
        "nested": nested,
        "unknown": [key for key in more if key not in takes],
    }
    builder.release()
    return found


def _nested(model: nn.Module, fresh: nn.Module, saved: dict[str, Any]) -> dict[str, str]:
    """By key, what a larger model loses that holds one of them: of its own state dict, and of one that it loads; see
    WHOLE."""
    try:
        outer = nn.ModuleDict({PART: model}).state_dict()
    except Exception as error:  # as one of its own methods does that takes none of torch's arguments
        return {WHOLE: f"cannot be saved in a larger model: {type(error).__name__}: {error}"[:300]}
    wrong = {key: "is not in the state dict of a larger model" for key in saved if f"{PART}.{key}" not in outer}
    with torch.no_grad():
        for tensor in fresh.state_dict().values():
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                tensor.zero_()
    larger = nn.ModuleDict({PART: fresh})
    try:
        told = larger.load_state_dict({f"{PART}.{key}": value for key, value in saved.items()}, strict=False)
    except Exception as error:
        return {**wrong, WHOLE: f"cannot be loaded in a larger model: {type(error).__name__}: {error}"[:300]}
    wrong |= {key.removeprefix(f"{PART}."): "is missing after loading a larger model" for key in told.missing_keys}
    for key, came in fresh.state_dict().items():
        if key in saved and key not in wrong and not _alike(saved[key], came):
            wrong[key] = "holds other values after loading a larger model"
    return wrong


def _alike(a: Any, b: Any) -> bool:
    """Whether two saved values are one; a tensor may have been loaded into another type."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return same(a.to(b.device, b.dtype), b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    return type(a) is type(b) and (not isinstance(a, bool | int | float | str | bytes) or a == b)


class _Asked(dict[str, Any]):
    """A state dict that notes which keys are looked for."""

    def __init__(self, values: dict[str, Any], asked: dict[str, None]) -> None:
        super().__init__(values)
        self.asked = asked
        self._metadata = getattr(values, "_metadata", None)

    def __contains__(self, key: object) -> bool:
        self.asked[str(key)] = None
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self.asked[key] = None
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.asked[key] = None
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        self.asked[key] = None
        return super().pop(key, *default)


@contextlib.contextmanager
def _asked_for(model: nn.Module) -> Iterator[dict[str, None]]:
    """Within, the keys are noted for which modules look that have code of their own to load by."""
    asked: dict[str, None] = {}
    changed = []
    for module in model.modules():
        load = module._load_from_state_dict
        own = type(module)._load_from_state_dict is not nn.Module._load_from_state_dict
        ours = own and type(module).__module__.partition(".")[0] != "torch"
        if not (ours or module._load_state_dict_pre_hooks):
            continue

        def noting(state: dict[str, Any], *args: Any, load: Any = load) -> None:
            given = _Asked(state, asked)
            load(given, *args)
            state.clear()
            state.update(given)

        changed.append(module)
        vars(module)["_load_from_state_dict"] = noting
    try:
        yield asked
    finally:
        for module in changed:
            del vars(module)["_load_from_state_dict"]


def _unlike(key: str, name: str) -> tuple[int, bool, str]:
    """How little a saved key looks like one that is asked for: by the parts of it that they have at one place."""
    ours, theirs = key.split("."), name.split(".")
    same = sum(a == b for a, b in zip(ours, theirs, strict=False))
    return -same, ours[-1] != theirs[-1], name


def _taken(model: nn.Module, saved: dict[str, Any], asked: list[str]) -> Iterator[tuple[str, str]]:
    """Keys that loading takes in the place of saved ones, with these: each is tried."""
    tensors = [name for name, value in saved.items() if isinstance(value, torch.Tensor)]
    elements = sum(saved[name].numel() for name in tensors)
    most = max(MOST_TRIED, MOST_COPIED // max(elements * len(asked[:MOST_TRIED]), 1))
    for key in asked[:MOST_TRIED]:
        for place in sorted(tensors, key=lambda name: _unlike(key, name))[:most]:
            state = {key if name == place else name: value for name, value in saved.items()}
            own = model.state_dict()[place]
            with torch.no_grad(), contextlib.suppress(Exception):  # another shape, or code that wants more keys
                own.zero_()
                told = model.load_state_dict(state, strict=False)
                clean = not (told.missing_keys or told.unexpected_keys)
                if clean and _alike(saved[place], model.state_dict()[place]):
                    yield key, place
                    break
