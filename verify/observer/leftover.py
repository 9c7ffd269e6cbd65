"""What a call, an import or the making of a model leaves changed of the process that it ran in: settings of torch that hold
for all code after it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

SEED = 7_919_001
"""A seed for generators before a call: one that no model sets, so that a seed set by it shows. It is set before anybody
looks whether the call draws."""

BY_BACKEND = "set for one backend"
"""What torch calls no name of: a precision of float32 products that was set through its newer settings."""


def _precision() -> str:
    try:
        return str(torch.get_float32_matmul_precision())
    except RuntimeError:  # torch 2.9 and later, once both kinds of settings were used
        return BY_BACKEND


SETTINGS: dict[str, Callable[[], Any]] = {
    "the seed of torch's generator": torch.initial_seed,
    "whether gradients are recorded": torch.is_grad_enabled,
    "the default dtype": torch.get_default_dtype,
    "the number of threads": torch.get_num_threads,
    "deterministic algorithms": lambda: (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    ),
    "the precision of float32 products": _precision,
    "anomaly detection": torch.is_anomaly_enabled,
    "flash attention": torch.backends.cuda.flash_sdp_enabled,
    "memory-efficient attention": torch.backends.cuda.mem_efficient_sdp_enabled,
    "plain attention": torch.backends.cuda.math_sdp_enabled,
}


UNLIKE_CALLS = frozenset({"the number of threads"})
"""What may be set once for a process, and changes no result beyond rounding."""


PLAIN = (bool, int, float, str, type(None))


@contextlib.contextmanager
def configuration(config: Any, found: dict[str, str]) -> Iterator[None]:
    """Within, one call of a model that holds this configuration. Adds the plain entries that the call changed to `found`, as
    "before -> after" by name, and puts them back."""
    held = vars(config) if hasattr(config, "__dict__") else {}
    before = {name: value for name, value in held.items() if isinstance(value, PLAIN)}
    try:
        yield
    finally:
        for name, value in before.items():
            if name in held and not _same(held[name], value):
                found[f"the configuration's {name}"] = f"{value!r} -> {held[name]!r}"
                held[name] = value


def _same(now: Any, before: Any) -> bool:
    """Whether a plain entry is what it was; NaN is, and a tensor or list in its place is not asked whether it is equal."""
    return now is before or (isinstance(now, PLAIN) and bool(now == before))


@contextlib.contextmanager
def noting(found: dict[str, str]) -> Iterator[None]:
    """Within, an import or the making of a model. Adds what changed to `found`, as "before -> after" by name; it stays so."""
    before = {name: tell() for name, tell in SETTINGS.items() if name not in UNLIKE_CALLS}
    try:
        yield
    finally:
        after = {name: SETTINGS[name]() for name in before}
        found.update({name: f"{before[name]} -> {after[name]}" for name in before if before[name] != after[name]})


@contextlib.contextmanager
def watching() -> Iterator[dict[str, str]]:
    """Within, one call. Gives a dictionary that afterwards holds what changed, as "before -> after" by name; what other
    calls would meet of it is put back."""
    before = {name: tell() for name, tell in SETTINGS.items()}
    left: dict[str, str] = {}
    yield left
    after = {name: tell() for name, tell in SETTINGS.items()}
    if before["the seed of torch's generator"] != SEED:  # draws are injected, and their place is kept in the seed
        after["the seed of torch's generator"] = before["the seed of torch's generator"]
    left.update({name: f"{before[name]} -> {after[name]}" for name in SETTINGS if before[name] != after[name]})
    if left:
        torch.set_default_dtype(before["the default dtype"])
        torch.set_num_threads(before["the number of threads"])
        deterministic, warn_only = before["deterministic algorithms"]
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        if before["the precision of float32 products"] != BY_BACKEND:
            torch.set_float32_matmul_precision(before["the precision of float32 products"])
        torch.autograd.set_detect_anomaly(before["anomaly detection"])
        torch.backends.cuda.enable_flash_sdp(before["flash attention"])
        torch.backends.cuda.enable_mem_efficient_sdp(before["memory-efficient attention"])
        torch.backends.cuda.enable_math_sdp(before["plain attention"])
