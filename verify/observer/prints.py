"""Small descriptions of a tensor's values: enough to recognise them on the other side, in whatever layout.

A print has three parts: power sums (free of layout), seeded projections and axis marginals (which follow the layout),
and a sketch of the elements themselves, so that a slice of a fused tensor, or a stack of parts, is still recognised.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

PROJECTIONS = 4
WIDTH = 65_536
KEPT = 96
"""Elements of a sketch: those with the smallest hashes, so that sketches of parts and wholes overlap."""
LARGEST_HASH = 2**63 - 1
MANTISSA_DROPPED = 22
"""Bits of float64 that a sketched element forgets: two elements are one within 1e-9 of their size."""
AXES = 6
WHOLE = 4 + PROJECTIONS + AXES


@lru_cache(maxsize=4)
def _signs(device: torch.device) -> torch.Tensor:
    """Seeded random signs [PROJECTIONS, WIDTH], float64."""
    generator = torch.Generator().manual_seed(20_029)
    return (torch.randint(0, 2, (PROJECTIONS, WIDTH), generator=generator).double() * 2 - 1).to(device)


def vector(tensor: torch.Tensor) -> list[float]:
    """WHOLE numbers: norm, Σx, Σ|x|, Σx³ (scaled to the norm), four projections, a marginal for each axis.

    The marginal of an axis is a projection of the sums over all others; axes of size one have none.
    """
    x = tensor.detach().to(torch.float64)
    flat = x.reshape(-1)
    if not flat.numel():
        return [0.0] * WHOLE
    sums = [torch.linalg.vector_norm(flat), flat.sum(), torch.linalg.vector_norm(flat, 1), torch.dot(flat * flat, flat)]
    signs = _signs(flat.device)
    found: list[float] = torch.cat([torch.stack(sums), _project(flat, signs), *_axes(x, flat, signs)]).tolist()
    norm = found[0] or 1.0
    found[3] = found[3] / norm / norm * flat.numel() ** 0.5
    return found + [0.0] * (WHOLE - len(found))


def of_view(tensor: torch.Tensor, before: torch.Tensor, vector_before: list[float]) -> list[float]:
    """The vector of a view of all that `before` holds, whose own is known."""
    if not tensor.numel():
        return vector_before
    x = tensor.detach().to(torch.float64)
    signs = _signs(x.device)
    start = 4 + PROJECTIONS
    if tensor.is_contiguous() and before.is_contiguous():
        flat, kept, projected = x.reshape(-1), vector_before[:start], []
    else:
        flat = x.reshape(-1)
        kept, projected = vector_before[:4], [_project(flat, signs)]
    parts = [*projected, *_axes(x, flat, signs)]
    found = kept + (torch.cat(parts).tolist() if parts else [])
    return found + [0.0] * (WHOLE - len(found))


def _axes(x: torch.Tensor, flat: torch.Tensor, signs: torch.Tensor) -> list[torch.Tensor]:
    wide = [axis for axis, size in enumerate(x.shape) if size > 1][:AXES]
    if len(wide) < 2:
        return [torch.dot(flat[:WIDTH], signs[0, : min(flat.numel(), WIDTH)])[None] for _ in wide]
    every = range(x.ndim)
    marginals = [x.sum([a for a in every if a != axis])[:WIDTH] for axis in wide]
    return [torch.dot(m, signs[0, : m.numel()])[None] for m in marginals]


def _project(flat: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    count = flat.numel()
    if count <= WIDTH:
        return signs[:, :count] @ flat
    rows = -(-count // WIDTH)
    padded = torch.nn.functional.pad(flat, (0, rows * WIDTH - count)).view(rows, WIDTH)
    turns = torch.arange(1, rows + 1, device=flat.device, dtype=torch.float64).sin()
    return (signs @ padded.T) @ turns


def sketch(tensor: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Up to KEPT hashes of |element|, ascending int64, and the bound below which they are all there are.

    Zeros are left out. Only for floating point values.
    """
    bits = tensor.detach().to(torch.float64).reshape(-1).view(torch.int64)
    mixed = bits + (1 << (MANTISSA_DROPPED - 1))  # the sign goes with the mask
    mixed.bitwise_and_(LARGEST_HASH).bitwise_right_shift_(MANTISSA_DROPPED)
    mixed.mul_(-7046029254386353131).bitwise_and_(LARGEST_HASH)
    bound = LARGEST_HASH
    if mixed.numel() > 4 * KEPT:
        cut = LARGEST_HASH // mixed.numel() * 3 * KEPT
        fewer = mixed[mixed < cut]
        if fewer.numel() >= KEPT:
            mixed, bound = fewer, cut
    kept = np.unique(mixed.cpu().numpy())
    kept = kept[kept != 0]
    if len(kept) > KEPT:
        kept = kept[:KEPT]
        bound = int(kept[-1]) + 1
    return torch.from_numpy(kept), bound
