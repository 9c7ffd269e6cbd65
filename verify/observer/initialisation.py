"""How a fresh model is initialised: a construction with a seed, each parameter's statistics and digest; and one with
another seed, which tells what is drawn."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from . import locate
from .build import Builder
from .values import dtype_name

LARGEST, RANK, TRIMMED = 64, 40, 2
"""Of the largest absolute values: how many are looked at, which of them is told, and how many may be outliers."""

SAMPLED, ROWS = 65_536, 128
"""Values among which repeated ones are sought, and rows whose correlation is measured: at most so many."""
SHORTEST, MOST_NAMED, DISTINCT = 8, 5, 0.5


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), seed. Builds on the CPU as the model itself does, in its own dtypes.

    Returns parameters [{name, shape, dtype, filled, ...}] with what `described` says, filled being the user's line that last
    wrote it, or made it; modules [{path, location}] and
    the location of the model's class. arrays: the values, by name, of those that hold several and that another seed does
    not change.
    """
    builder.release()
    model = _fresh(builder, args["values"], args["seed"], traced=True)
    first = dict(model.named_parameters())
    again, held = {}, {}
    for name, parameter in _fresh(builder, args["values"], args["seed"] + 1).named_parameters():
        again[name] = (digest(parameter), largest(parameter.detach()))
        held[name] = _held(first[name].detach(), parameter.detach()) if name in first else ""
    root = builder.settings["path"]
    modules = dict(model.named_modules(remove_duplicate=False))

    def filled(name: str) -> dict[str, Any] | None:
        path, _, own = name.rpartition(".")
        return builder.origins.filled(modules[path], own)

    parameters = [
        {
            "name": name,
            "shape": list(p.shape),
            "dtype": dtype_name(p),
            "filled": filled(name),
            **described(p.detach(), *again.get(name, (None,))),
            "held": held.get(name, ""),
        }
        for name, p in model.named_parameters()
    ]
    tables = {p["name"] for p in parameters if p["steady"] and p["lowest"] != p["highest"]}
    return {
        "parameters": parameters,
        "arrays": {name: p.detach() for name, p in model.named_parameters() if name in tables},
        "modules": [{"path": p, "location": locate.of_class(m, root)} for p, m in model.named_modules()],
        "location": locate.of_class(model, root),
    }


def _held(one: torch.Tensor, other: torch.Tensor) -> str:
    """Which rows of a drawn parameter no seed changes, and a digest of them; empty where all or none are so.

    A row of SHORTEST values or more: fewer may be drawn alike by chance in a narrow type. And of a parameter whose values
    mostly differ: rows of few different values, such as zeros and ones, are drawn alike by chance too.
    """
    if one.ndim < 2 or one.shape != other.shape or one.is_meta or one[:1].numel() < SHORTEST:
        return ""
    rows = (one == other).flatten(1).all(1)
    if not rows.any() or rows.all():
        return ""
    drawn = one[~rows].flatten()[:SAMPLED]
    if drawn.unique().numel() < DISTINCT * drawn.numel():
        return ""
    places = rows.nonzero().flatten().tolist()
    told = ", ".join(map(str, places[:MOST_NAMED])) + (", …" if len(places) > MOST_NAMED else "")
    return f"{len(places)} ({told}) with the digest {digest(one[rows])[:8]}"


def _fresh(builder: Builder, values: dict[str, Any], seed: int, *, traced: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    return builder.construct(values, traced=traced)


def described(tensor: torch.Tensor, again: str | None, more: torch.Tensor | None = None) -> dict[str, Any]:
    """The statistics, and steady: whether no value is drawn. again: digest under another seed. more: the largest absolute
    values under another seed, which count with those of this one."""
    found = statistics(tensor, more)
    return {**found, "steady": found["digest"] == again}


def statistics(tensor: torch.Tensor, more: torch.Tensor | None = None) -> dict[str, Any]:
    """count, mean, spread (standard deviation), kurtosis (3 for a normal, 1.8 for a uniform distribution), lowest,
    highest, zeros and ones (how many), repeats (see `_repeats`), tail (see `_tail`), rows (see `_rows`), finite, and a
    digest of the exact values. Float64 arithmetic. A tensor that is empty or not finite throughout has zeros instead of numbers.
    """
    x = _flat(tensor).double()
    finite = bool(x.isfinite().all())
    empty = not (finite and x.numel())
    mean = 0.0 if empty else x.mean().item()
    squares = (x - mean).square_()
    variance = 0.0 if empty else squares.mean().item()
    lowest, highest = (0.0, 0.0) if empty else (v.item() for v in x.aminmax())
    constant = empty or lowest == highest
    return {
        "count": x.numel(),
        "mean": mean,
        "spread": variance**0.5,
        "kurtosis": squares.square_().mean().item() / variance**2 if variance > 0 else 0.0,
        "lowest": lowest,
        "highest": highest,
        "zeros": x.numel() - int(x.count_nonzero()),
        "ones": int((x == 1).sum()) if lowest <= 1 <= highest else 0,
        "repeats": 0 if constant else _repeats(_flat(tensor)),
        "tail": None if constant else _tail(largest(tensor), more),
        "rows": None if constant or tensor.is_complex() else _rows(tensor),
        "finite": finite,
        "digest": digest(tensor),
    }


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """Its numbers in one row [N]; of a complex one both parts."""
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).flatten()


def _repeats(x: torch.Tensor) -> int:
    """How many of the values [N], or of a sample of them, are equal to another one that is counted."""
    if x.numel() > SAMPLED:  # by a seed of its own, so that what the model draws stays as it is
        chosen = torch.randint(x.numel(), (SAMPLED,), generator=torch.Generator().manual_seed(0)).unique()
        x = x[chosen.to(x.device)]
    return int(x.numel() - x.unique().numel())


def largest(tensor: torch.Tensor) -> torch.Tensor:
    """The largest absolute values, float64 [at most LARGEST], falling."""
    x = _flat(tensor).abs()
    if x.numel() > SAMPLED:  # sort the few that exceed a part's largest but some
        few = x[x >= x[:: x.numel() // (SAMPLED // 4)].topk(LARGEST // 4).values[-1]]
        x = few if few.numel() >= LARGEST else x
    return x.topk(min(LARGEST, x.numel())).values.double()


def _tail(values: torch.Tensor, more: torch.Tensor | None) -> dict[str, Any] | None:
    """The largest absolute values as a few numbers: first; ranked, the one at place RANK; rate, by how much the logarithm of
    those after the first TRIMMED exceeds the last on average; distinct, how many of them are so. None where there are
    too few, or the last is zero."""
    if more is not None and bool(more.isfinite().all()):
        values = torch.cat([values, more.to(values.device)]).sort(descending=True).values[:LARGEST]
    if values.numel() < LARGEST or values[-1] == 0:
        return None
    rate = (values[TRIMMED:-1] / values[-1]).log().mean().item()
    distinct = values.unique().numel()
    return {"first": values[0].item(), "ranked": values[RANK - 1].item(), "rate": rate, "distinct": distinct}


def _rows(tensor: torch.Tensor) -> float | None:
    """How far the squared correlations between rows, or columns where there are fewer of them, lie from what independent
    values have, in standard errors. None for a vector, and where a row is constant.

    The squared correlation of two rows of k values whose order is random is 1 / (k - 1) on average, whatever their
    distribution; it varies by twice that squared, and more where tails are heavy.
    """
    if tensor.ndim < 2:
        return None
    x = tensor.flatten(1)
    x = (x.T if x.shape[0] > x.shape[1] else x)[:ROWS].double()
    x = x - x.mean(1, keepdim=True)
    norms = x.norm(dim=1, keepdim=True)
    rows, width = x.shape
    if rows < 2 or width < 3 or not bool((norms > 0).all()):
        return None
    x = x / norms
    pairs = rows * (rows - 1) / 2
    apart = ((x @ x.T).square().sum().item() - x.norm(dim=1).pow(4).sum().item()) / 2 * (width - 1) - pairs
    heavy = (x.pow(4).sum(1) * width).mean().item()
    return float(apart / (2 * pairs * (1 + heavy**2 / width)) ** 0.5)


def digest(tensor: torch.Tensor) -> str:
    """A fingerprint of dtype, shape and every bit."""
    plain = tensor.detach().cpu().contiguous()
    head = f"{dtype_name(tensor)} {list(tensor.shape)} ".encode()
    return hashlib.blake2b(head + plain.reshape(-1).view(torch.uint8).numpy().tobytes(), digest_size=16).hexdigest()
