# SPDX-License-Identifier: Apache-2.0
"""Reads a checkpoint safely, finds the weights in it, and holds them to what a model expects.

Nothing in a file is executed: pickles are read with `weights_only`, and what that refuses is refused. Tensors are mapped
from the file where its format allows, so that reading takes no memory before values are used.
"""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .errors import PublishError, some

PLAIN_KEYS = ("model", "state_dict", "model_state_dict", "module", "params")
EMA_KEYS = (
    "ema",
    "model_ema",
    "ema_model",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema_state_dict",
    "shadow",
    "params_ema",
)
PREFIXES = ("module.", "_orig_mod.", "model.", "ema_model.", "ema.")
"""Wrappers put these before every name: DDP and AveragedModel, torch.compile, trainers, EMA classes."""
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Wrappers of inner modules put these in the middle of names."""
BOOKKEEPING = frozenset({"n_averaged", "module.n_averaged"})
"""torch.optim.swa_utils.AveragedModel counts its updates beside the weights."""
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLE = ("model.safetensors", "pytorch_model.bin")
DEEPEST = 4
LFS_POINTER = b"version https://git-lfs"
LONGEST_HEAD = 64

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights by the model's own names. notes: what was unwrapped to get there, for people."""

    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()

    @property
    def dtypes(self) -> list[torch.dtype]:
        """Every dtype that occurs, the most frequent first."""
        return [dtype for dtype, _ in Counter(tensor.dtype for tensor in self.tensors.values()).most_common()]

    @property
    def bytes(self) -> int:
        """Size of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def load(path: Path, *, ema: bool = False, expected: Collection[str] = ()) -> Checkpoint:
    """The weights in a file or folder.

    path: .pth, .pt, .bin or .safetensors; the index of a sharded one; or a folder with either. ema: take the averaged
    weights where a checkpoint has both. expected: names that are wanted; what looks like a wrapper's prefix stays where
    these begin with it too. Raises PublishError where there are no weights, or a file is broken or not safe.
    """
    notes: list[str] = []
    found = _read(_resolved(path))
    state = _unwrapped(found, path, ema, notes)
    return Checkpoint(tensors=_plain_names(state, path, expected, notes), notes=tuple(notes))


def entries(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file or folder that holds nothing else, by its name there. Raises PublishError."""
    found = _read(_resolved(path))
    if not _is_state(found):
        raise PublishError(f"{path}: {_described(found)}")
    return {str(name): tensor for name, tensor in found.items()}


def ways(path: Path) -> set[Path]:
    """Every place that reading a checkpoint goes through: its files, shards included, and what links lead to. Raises
    PublishError."""
    file = _resolved(path)
    found: set[Path] = set()
    for one in (file, *(file.parent / shard for shard in _index(file))) if _is_index(file) else (file,):
        while one.parent.resolve() / one.name not in found:
            one = one.parent.resolve() / one.name
            found.add(one)
            if one.is_symlink():
                one = one.parent / one.readlink()
    return found


def _resolved(path: Path) -> Path:
    """The file that a path stands for: itself, or what a folder holds."""
    if path.is_dir():
        there = [name for name in (*INDEXES, *SINGLE) if (path / name).is_file()]
        if not there:
            raise PublishError(f"{path}: this folder holds none of {', '.join((*INDEXES, *SINGLE))}; name the file")
        return path / there[0]
    if not path.is_file():
        raise PublishError(f"{path}: there is no such file")
    return path


def _read(file: Path) -> Any:
    """What a file holds. Raises PublishError."""
    if _is_index(file):
        return _sharded(file)
    try:
        with file.open("rb") as stream:
            head = stream.read(LONGEST_HEAD)
        if kind := _of_another_kind(file, head):
            raise PublishError(f"{file}: {kind}")
        if file.suffix == ".safetensors":
            return load_file(file)
        zipped = head.startswith(b"PK\x03\x04")  # torch's format since 1.6; only this one can be mapped
        if not zipped and head.startswith(b"PK"):
            raise EOFError("the header of the zip file is not whole")
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except PublishError:
        raise
    except pickle.UnpicklingError as error:
        raise PublishError(_refused(file, str(error))) from None
    except SafetensorError as error:
        raise PublishError(f"{file}: no whole safetensors file ({error}); is it truncated? Copy it again") from None
    except MemoryError:
        raise
    except Exception as error:  # what a parser meets in a file that is cut or of another kind
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise PublishError(f"{file}: no readable checkpoint ({reason}); is it truncated? Copy it again") from None


def _of_another_kind(file: Path, head: bytes) -> str:
    """What a file is that is no checkpoint, by its first bytes; nothing where it may be one."""
    if not head:
        return "is empty; copy it again"
    if head.startswith(LFS_POINTER):
        return "is the pointer of a file in git-lfs and not the file; get that with `git lfs pull`"
    begins = f"it begins with {head[:16]!r}"
    if file.suffix == ".safetensors":
        return f"is no safetensors file: {begins}; download it again" if head[8:9] not in (b"", b"{") else ""
    if head[8:9] == b"{":
        return "looks like safetensors; give it a name that ends with .safetensors"
    if not head.startswith((b"PK", b"\x80")):
        return f"is no checkpoint: {begins}; expected what torch.save wrote, or a .safetensors file. Download it again"
    return ""


def _refused(file: Path, reason: str) -> str:
    named = re.search(r"GLOBAL ([\w.]+)", reason)
    what = f" ({named[1]})" if named else ""
    return (
        f"{file}: refused: it asks for more than tensors and plain values{what}, which could run code. Nothing of it was "
        "executed. If the file is yours, save the weights alone with torch.save(model.state_dict(), ...) and use that"
    )


def _is_index(file: Path) -> bool:
    return file.name.endswith(".index.json")


def _index(index: Path) -> dict[str, set[str]]:
    """Shards that an index names, and what each holds. Raises PublishError."""
    try:
        where = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards: dict[str, set[str]] = {}
        for name, shard in where.items():
            shards.setdefault(str(shard), set()).add(str(name))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PublishError(f"{index}: no index of shards ({type(error).__name__}: {error})") from None
    for shard in shards:
        if Path(shard).name != shard or shard in ("", ".", ".."):
            raise PublishError(f"{index}: names {shard!r}; shards lie beside their index")
        if _is_index(Path(shard)):
            raise PublishError(f"{index}: names {shard!r} as a shard, which is an index; expected files with weights")
    return shards


def _sharded(index: Path) -> dict[str, Tensor]:
    """All tensors that an index names, each from the shard that it names."""
    tensors: dict[str, Tensor] = {}
    for shard, names in _index(index).items():
        if not (index.parent / shard).is_file():
            raise PublishError(f"{index}: the shard {shard} is missing")
        held = _read(index.parent / shard)
        held = held if isinstance(held, Mapping) else {}
        for what, odd in (("lacks", names - set(held)), ("also holds", set(map(str, held)) - names)):
            if odd:
                raise PublishError(f"{index.parent / shard}: {what}, against its index:{some(sorted(odd))}")
        tensors.update(held)
    return tensors


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(v, Tensor) for v in value.values())


def _holds(value: Any, levels: int) -> bool:
    """Whether a mapping holds a tensor, itself or in mappings down to so many levels: {"decay": 0.9} is no weights."""
    if not isinstance(value, Mapping) or levels < 1:
        return False
    return any(isinstance(v, Tensor) or _holds(v, levels - 1) for v in value.values())


def _unwrapped(found: Any, path: Path, ema: bool, notes: list[str]) -> Mapping[str, Tensor]:
    """The state dict inside whatever a training script saved."""
    wanted = ema
    for left in range(DEEPEST, 0, -1):
        if _is_state(found) and not wanted:
            return found  # type: ignore[no-any-return]
        if not isinstance(found, Mapping):
            break
        averaged, plain = ([k for k in keys if _holds(found.get(k), left)] for keys in (EMA_KEYS, PLAIN_KEYS))
        if wanted and not averaged and len(plain) != 1:
            break
        keys = averaged if (wanted and averaged) or not plain else plain
        if not keys:
            break
        if len(keys) > 1:
            raise PublishError(f"{path}: holds weights under {' and '.join(map(repr, keys))}; save the one to publish")
        notes.append(f"the weights are under {keys[0]!r}")
        if keys is plain and averaged and not wanted:
            notes.append(f"the averaged weights under {averaged[0]!r} are not taken; --ema takes them")
        wanted = wanted and keys is plain
        found = found[keys[0]]
    if wanted:
        raise PublishError(f"{path}: has no averaged weights under any of {', '.join(EMA_KEYS)}; leave out --ema")
    raise PublishError(f"{path}: {_described(found)}; expected a state dict, plain or under {', '.join(PLAIN_KEYS)}")


def _described(found: Any) -> str:
    if not isinstance(found, Mapping):
        return f"holds a {type(found).__name__}"
    if not found:
        return "is empty"
    other = [f"{key} ({type(value).__name__})" for key, value in found.items() if not isinstance(value, Tensor)]
    return f"holds what is no tensor:{some(other, 20)}\n"


def _plain_names(
    state: Mapping[str, Tensor], path: Path, expected: Collection[str], notes: list[str]
) -> dict[str, Tensor]:
    """Tensors by name without the prefixes that wrappers add: all of them, or so many that the names fit best to those
    that are expected. Raises PublishError where two names become one."""
    named = {str(name): tensor for name, tensor in state.items()}
    if set(expected) == set(named):
        return named
    counted = sorted(BOOKKEEPING & set(named))
    if counted and any(name.startswith("module.") for name in named):
        notes.append(f"left out {', '.join(counted)}, which counts averaged updates")
        named = {name: tensor for name, tensor in named.items() if name not in counted}
    removed, stages = "", [("", named)]
    while prefix := next((p for p in PREFIXES if named and all(n.startswith(p) and n != p for n in named)), None):
        removed += prefix
        named = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
        stages.append((removed, named))
    if expected:
        removed, named = min(stages, key=lambda stage: len(set(map(_unwrapped_name, stage[1])) ^ set(expected)))
    if removed:
        notes.append(f"took {removed!r} off every name")
    clean = {name: _unwrapped_name(name) for name in named}
    twice = [name for name, count in Counter(clean.values()).items() if count > 1]
    if twice:
        raise PublishError(f"{path}: several entries are one parameter without their wrappers:{some(twice)}")
    if any(old != new for old, new in clean.items()):
        notes.append("took the names of wrappers out of the middle of names")
    return {new: named[old] for old, new in clean.items()}


def _unwrapped_name(name: str) -> str:
    return WRAPPERS.sub("", name)


# --- what a model expects ---------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Misfit:
    """How a checkpoint and a model's state dict differ; empty where they fit."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.shapes)

    def __str__(self) -> str:
        parts = (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", self.shapes))
        return "\n".join(f"{len(names)} {what}:{some(names)}" for what, names in parts if names)


def misfit(tensors: Mapping[str, Tensor], expected: Mapping[str, Shape]) -> Misfit:
    """Every name that only one of the two has, and every shape that differs."""
    return Misfit(
        missing=[f"{name} {list(shape)}" for name, shape in expected.items() if name not in tensors],
        unexpected=[f"{name} {list(t.shape)}" for name, t in tensors.items() if name not in expected],
        shapes=[
            f"{name}: {list(tensors[name].shape)} in the checkpoint, {list(shape)} in the model"
            for name, shape in expected.items()
            if name in tensors and tuple(tensors[name].shape) != shape
        ],
    )


def shapes(model: nn.Module) -> dict[str, Shape]:
    """Shapes of a model's state dict, in its order."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict(keep_vars=True).items()}


def likely(tensors: Mapping[str, Tensor], variants: Mapping[str, Mapping[str, Shape]]) -> str:
    """A sentence on the variant that a checkpoint fits best, or nothing where it fits none nearly."""
    ranked = sorted((misfit(tensors, expected).count, name) for name, expected in variants.items())
    count, name = ranked[0]
    if count == 0:
        return f"It is a checkpoint of {name}: pass --model_name {name}."
    if count <= len(variants[name]) // 4:
        return f"The nearest variant is {name}, from which it differs in {count} entries."
    return "It fits no registered variant."
