"""Small descriptions of a tensor's values: enough to recognise them on the other side, in whatever layout.

A print has three parts: power sums (free of layout), seeded projections and axis marginals (which follow the layout),
and a sketch of the elements themselves, so that a slice of a fused tensor, or a stack of parts, is still recognised.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

PROJECTIONS = 4
WIDTH = 65_536
KEPT = 96
"""Elements of a sketch: those with the smallest hashes, so that sketches of parts and wholes overlap."""
LARGEST_HASH = 2**63 - 1
MANTISSA_DROPPED = 22
"""Bits of float64 that a sketched element forgets: two elements are one within 1e-9 of their size."""
AXES = 6
WHOLE = 4 + PROJECTIONS + AXES
MOST_DENSE = 2**24
"""Elements of a sparse tensor that zeros are counted of: a larger one is known by the others alone."""
SMALL = 2**16
"""Elements of a value whose prints are made with those of others of its shape: one by one, calls would cost the most."""
MOST_WAITING = 2**23
"""Bytes of copies that wait for that."""
HUGE = 1e30
"""Size from which on elements stand for minus or plus infinity, as masks use them, and say nothing by their size."""
MASKED, UNDEFINED = 1.618033988749895, 2.718281828459045
"""What such an element, and one that is no number, counts as in a print: so many times the largest other element."""


@lru_cache(maxsize=4)
def _signs(device: torch.device) -> torch.Tensor:
    """Seeded random signs [PROJECTIONS, WIDTH], float64."""
    generator = torch.Generator().manual_seed(20_029)
    return (torch.randint(0, 2, (PROJECTIONS, WIDTH), generator=generator).double() * 2 - 1).to(device)


def numbers(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor's values as float64: of a complex one both parts in a last axis, of a sparse one zeros too, unless there are too many."""
    x = tensor.detach()
    if x.layout != torch.strided:
        x = x.to_dense() if x.numel() <= MOST_DENSE else x.to_sparse_coo().coalesce().values()
    return (torch.view_as_real(x.resolve_conj()) if x.is_complex() else x).to(torch.float64)


def vector(tensor: torch.Tensor) -> list[float]:
    """WHOLE numbers: norm, Σx, Σ|x|, Σx³ (scaled to the norm), four projections, a marginal for each axis.

    The marginal of an axis is a projection of the sums over all others; axes of size one have none. Elements that are
    HUGE or no numbers count as MASKED and UNDEFINED: which elements are masked, and all others, still tell.
    """
    x = numbers(tensor)
    found = _vector(x)
    return found if found[0] < HUGE else _vector(_tamed(x[None])[0])


def _vector(x: torch.Tensor) -> list[float]:
    flat = x.reshape(-1)
    if not flat.numel():
        return [0.0] * WHOLE
    sums = [torch.linalg.vector_norm(flat), flat.sum(), torch.linalg.vector_norm(flat, 1), torch.dot(flat * flat, flat)]
    signs = _signs(flat.device)
    found: list[float] = torch.cat([torch.stack(sums), _project(flat, signs), *_axes(x, flat, signs)]).tolist()
    norm = found[0] or 1.0
    found[3] = found[3] / norm / norm * flat.numel() ** 0.5
    return found + [0.0] * (WHOLE - len(found))


class Waiting:
    """Copies of small values, whose prints are made together: `vectors` and `sketches`, by number, after `make`."""

    def __init__(self) -> None:
        self.vectors: dict[int, list[float]] = {}
        self.sketches: dict[int, tuple[torch.Tensor, int]] = {}
        self._groups: dict[Any, list[tuple[int, torch.Tensor, bool]]] = {}
        self._bytes = 0

    def add(self, number: int, tensor: torch.Tensor, sketched: bool) -> None:
        """A value of at most SMALL elements, real; sketched: floating point, and in need of a sketch too."""
        copy = tensor.detach().to(torch.float64, copy=True, memory_format=torch.contiguous_format)
        self._groups.setdefault((copy.device, tuple(copy.shape)), []).append((number, copy, sketched))
        self._bytes += copy.numel() * 8
        if self._bytes > MOST_WAITING:
            self.make()

    def make(self) -> None:
        """Makes the prints of all that waits."""
        for group in self._groups.values():
            numbers = [number for number, _, _ in group]
            stacked = torch.stack([copy for _, copy, _ in group])
            self.vectors.update(zip(numbers, _vectors(stacked), strict=True))
            chosen = [place for place, (_, _, sketched) in enumerate(group) if sketched]
            if chosen:
                found = _sketches(stacked if len(chosen) == len(group) else stacked[chosen])
                self.sketches.update(zip((numbers[place] for place in chosen), found, strict=True))
        self._groups, self._bytes = {}, 0


def _vectors(stacked: torch.Tensor) -> list[list[float]]:
    """`vector` of each of several tensors of one shape, [K, ...] float64."""
    table = _table(stacked)
    strange = [place for place, row in enumerate(table) if not row[0] < HUGE]
    if strange:  # once: elements just below HUGE have a norm beyond it whatever is done
        for place, row in zip(strange, _table(_tamed(stacked[strange])), strict=True):
            table[place] = row
    return table


def _table(stacked: torch.Tensor) -> list[list[float]]:
    """The same, where every element counts as it is."""
    flat = stacked.reshape(len(stacked), -1)
    if not flat.shape[1]:
        return [[0.0] * WHOLE for _ in range(len(flat))]
    signs = _signs(flat.device)
    norms = torch.linalg.vector_norm(flat, dim=1)
    cubes = (flat * flat * flat).sum(1)
    scale = torch.where(norms == 0, torch.ones_like(norms), norms)
    cubes = cubes / scale / scale * flat.shape[1] ** 0.5
    sums = [norms, flat.sum(1), torch.linalg.vector_norm(flat, 1, dim=1), cubes]
    wide = [axis for axis, size in enumerate(stacked.shape) if axis and size > 1][:AXES]
    every = range(1, stacked.ndim)
    marginals = (
        [flat for _ in wide] if len(wide) < 2 else [stacked.sum([a for a in every if a != axis]) for axis in wide]
    )
    projected = [flat @ signs[:, : flat.shape[1]].T, *((m @ signs[0, : m.shape[1]])[:, None] for m in marginals)]
    found: list[list[float]] = torch.cat([torch.stack(sums, 1), *projected], 1).tolist()
    return [row + [0.0] * (WHOLE - len(row)) for row in found]


def _tamed(stacked: torch.Tensor) -> torch.Tensor:
    """Several tensors of one shape, [K, ...] float64, with MASKED and UNDEFINED in the place of what is HUGE or no number.

    They are on the scale of the other elements, so that neither hides the other.
    """
    huge, undefined = stacked.abs() > HUGE, stacked.isnan()
    kept = torch.where(huge | undefined, torch.zeros_like(stacked), stacked)
    largest = kept.reshape(len(kept), -1).abs().amax(1)
    largest = torch.where(largest == 0, torch.ones_like(largest), largest).view(-1, *[1] * (stacked.ndim - 1))
    return torch.where(huge, stacked.sign() * MASKED * largest, torch.where(undefined, UNDEFINED * largest, kept))


def of_view(tensor: torch.Tensor, before: torch.Tensor, vector_before: list[float]) -> list[float]:
    """The vector of a view of all that `before` holds, whose own is known."""
    if not tensor.numel():
        return vector_before
    x = tensor.detach().to(torch.float64)
    if not torch.linalg.vector_norm(x, torch.inf) < HUGE:
        return vector(tensor)
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
    (found,) = _sketches(tensor.detach().to(torch.float64)[None])
    return found


def _sketches(stacked: torch.Tensor) -> list[tuple[torch.Tensor, int]]:
    """`sketch` of each of several tensors of one shape, [K, ...] float64."""
    bits = stacked.reshape(len(stacked), -1).view(torch.int64)
    count = bits.shape[1]
    mixed = bits + (1 << (MANTISSA_DROPPED - 1))  # the sign goes with the mask
    mixed.bitwise_and_(LARGEST_HASH).bitwise_right_shift_(MANTISSA_DROPPED)
    mixed.mul_(-7046029254386353131).bitwise_and_(LARGEST_HASH)
    if count <= 4 * KEPT:
        return [_smallest(row, LARGEST_HASH) for row in mixed.cpu().numpy()]
    cut = LARGEST_HASH // count * 3 * KEPT
    below = mixed < cut
    sizes = below.sum(1).cpu()
    rows = np.split(mixed[below].cpu().numpy(), np.cumsum(sizes.numpy())[:-1])
    return [
        _smallest(row, cut) if len(row) >= KEPT else _smallest(mixed[place].cpu().numpy(), LARGEST_HASH)
        for place, row in enumerate(rows)
    ]


def _smallest(hashes: NDArray[np.int64], bound: int) -> tuple[torch.Tensor, int]:
    kept = np.unique(hashes)
    kept = kept[kept != 0]
    if len(kept) > KEPT:
        kept = kept[:KEPT]
        bound = int(kept[-1]) + 1
    return torch.from_numpy(kept), bound
