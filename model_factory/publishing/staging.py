# SPDX-License-Identifier: Apache-2.0
"""Writes the folder that is published: all of it or nothing.

Weights go from the checkpoint to safetensors shard by shard, so that no more than one shard is ever in memory beside
the mapped checkpoint. The same checkpoint gives the same bytes each time, which is what lets an upload go on after a cut.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

import llavavit

from .card import card, example, generated
from .checkpoint import Checkpoint
from .errors import OptionError, PublishError, some
from .models import hub_config

CODE = ("configuration_llava_vit.py", "modeling_llava_vit.py")
WEIGHTS = "model{suffix}.safetensors"
INDEX = "model.safetensors.index.json"
SMALL_FILES = ("README.md", "config.json", "example.py", "preprocessor_config.json", *CODE)
MARKS = ("config.json", "example.py")
"""Without these a folder is none that staging wrote."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
DEFAULT_SHARD = "2GB"
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SPARE = 2**20
"""Bytes for the small files and file headers."""

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is staged. source, revision: what the card tells AutoModel to load, revision None for a repository's main.
    shard: largest weight file, such as "2GB" or in bytes."""

    model_name: str
    source: str
    dtype: torch.dtype
    revision: str | None = None
    shard: int | str = DEFAULT_SHARD

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")


def stage(checkpoint: Checkpoint, plan: Plan, folder: Path, progress: Progress = lambda what: None) -> list[Path]:
    """Writes `folder` and returns its files. What an earlier staging left there is replaced.

    Raises PublishError where the folder holds anything else, the disk is full, or a weight is not finite; then `folder`
    is as it was.
    """
    check_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    needed = sum(t.numel() for t in checkpoint.tensors.values()) * plan.dtype.itemsize + SPARE
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise PublishError(f"{folder}: staging needs {_size(needed)} and {_size(free)} are free there")
    with whole(folder) as fresh:
        write_weights(checkpoint.tensors, plan.dtype, plan.shard, fresh, progress)
        progress("configuration, code and card")
        _write_small(checkpoint, plan, fresh)
    return sorted(folder.iterdir())


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A new folder to write in, which takes the place of `folder` if all goes well and else leaves nothing behind.

    Raises PublishError where the disk does not take it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise PublishError(f"{folder}: cannot be written: {error.strerror or error}") from None
    try:
        fresh.chmod(0o755)
        yield fresh
        replace(folder, fresh)
    except (OSError, SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise PublishError(f"{folder}: cannot be written: {reason}; nothing is left there of it") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def shard_size(text: str) -> int:
    """Bytes of a size such as "2GB", as huggingface_hub counts them. Raises OptionError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]B)\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * UNITS[found[2].upper()]) if found else 0
    if size < 1:
        raise OptionError(
            f"--max_shard_size {text}: is no size; expected a number with {', '.join(UNITS)}, such as 2GB"
        )
    return size


def check_place(folder: Path) -> None:
    """Raises OptionError unless a folder can be written there that replaces nothing but an earlier staging."""
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder}: is a file; name a folder with --output_dir")
    if folder.exists() and folder.samefile(Path.cwd()):
        raise OptionError(f"{folder}: you are in this folder, and staging replaces it; name one in it or beside it")
    if folder.is_mount():
        raise OptionError(f"{folder}: is a mount point, which nothing can take the place of; name a folder in it")
    if odd := foreign(folder):
        raise OptionError(
            f"{folder}: holds files that staging would not write; name an empty folder, or take these elsewhere:"
            f"{some(odd, 20)}"
        )
    above = next(place for place in folder.absolute().parents if place.exists())
    try:
        Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=above)).rmdir()
    except OSError as error:
        raise OptionError(f"{folder}: cannot be written in {above}: {error.strerror or error}") from None


def foreign(folder: Path) -> list[str]:
    """What a folder holds that no staging wrote, or that somebody edited since; nothing where it is empty or missing.

    File names do not tell: every model on the Hub has a config.json and a model.safetensors.
    """
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    odd = [file.name for file in there if not _named_as_ours(file)]
    missing = [name for name in MARKS if folder / name not in there]
    if odd or not there:
        return odd
    if missing:
        return [f"{file.name} (with no {' and no '.join(missing)} beside it)" for file in there]
    try:
        text = {f.name: f.read_text(encoding="utf-8", errors="replace") for f in there if f.name in SMALL_FILES}
        values = json.loads(text["config.json"])
        if values["model_type"] != llavavit.LlavaViTConfig.model_type:
            return [f"config.json (of a {values['model_type']})"]
        config = llavavit.LlavaViTConfig.from_dict(values)
        preprocessor = preprocessing(config.image_size)
        written = {"example.py": example(), "preprocessor_config.json": _json(preprocessor)}
        odd = [
            f"{name} (not as staging writes it)"
            for name, as_ours in written.items()
            if text.get(name, as_ours) != as_ours
        ]
        if "README.md" in text and not generated(text["README.md"], config, preprocessor):
            odd.append("README.md (edited, or not as staging writes it)")
    except Exception as error:  # whatever transformers says of a configuration that is none
        return [f"config.json (not of a LlavaViT: {type(error).__name__}: {error})"]
    return odd


def _named_as_ours(file: Path) -> bool:
    weights = file.name.startswith("model") and file.name.endswith((".safetensors", ".safetensors.index.json"))
    return file.is_file() and (weights or file.name in SMALL_FILES)


def replace(folder: Path, fresh: Path) -> None:
    """Puts `fresh`, which lies beside it, in the place of `folder`, if that holds nothing but an earlier staging.

    Raises PublishError where it does, or where the disk does not take it; then `folder` is as it was.
    """
    if odd := foreign(folder):  # looked at when the run began, which may be an hour ago
        raise PublishError(f"{folder}: holds files that staging would not write, and is left alone:{some(odd, 20)}")
    kept = None
    try:
        if not folder.exists():
            fresh.rename(folder)
            return
        kept = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)) / "old"
        try:
            folder.rename(kept)
            fresh.rename(folder)
        finally:  # Ctrl-C included
            if not folder.exists():
                kept.rename(folder)
            with contextlib.suppress(OSError):  # it is not empty where all went well
                kept.parent.rmdir()
        shutil.rmtree(kept.parent, ignore_errors=True)
    except OSError as error:
        where = f"; what was there lies in {kept}" if kept is not None and not folder.exists() else ""
        raise PublishError(f"{folder}: cannot be replaced: {error.strerror or error}{where}") from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other runs away from a folder, also while it does not exist. Raises PublishError where one is at work there."""
    lock = folder.with_name(f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        held = _lock(lock)
    except BlockingIOError:
        raise PublishError(f"{folder}: another run is at work there; wait for it, or name another folder") from None
    except OSError as error:
        raise PublishError(f"{folder}: cannot be locked by {lock}: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(held)


def _lock(lock: Path) -> int:
    """A descriptor of the locked file. What a killed run left there is not locked any more."""
    while True:
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):  # as some network file systems say
                    raise
            if lock.exists() and os.fstat(held).st_ino == lock.stat().st_ino:
                return held
        except BaseException:
            os.close(held)
            raise
        os.close(held)  # its owner removed it between the two calls


def write_weights(
    tensors: Mapping[str, Tensor], dtype: torch.dtype | None, shard: int | str, folder: Path, progress: Progress
) -> None:
    """Tensors as safetensors of at most `shard` each, with an index where there are several.

    dtype: cast to it, and raise PublishError where a value is not finite; None keeps each tensor as it is.
    """
    meta = {name: torch.empty_like(t, device="meta", dtype=dtype or t.dtype) for name, t in tensors.items()}
    try:
        split = split_torch_state_dict_into_shards(meta, filename_pattern=WEIGHTS, max_shard_size=shard)
    except ValueError as error:
        raise PublishError(f"--max_shard_size {shard}: {error}") from None
    for file, names in split.filename_to_tensors.items():
        progress(file)
        part = {}
        for name in names:
            tensor = tensors[name]
            part[name] = _own(tensor.to(dtype or tensor.dtype).contiguous())
            if dtype is not None:
                _check_finite(name, tensor, part[name])
        save_file(part, folder / file, metadata={"format": "pt"})
        (folder / file).chmod(0o644)
        del part
    if split.is_sharded:
        index = {"metadata": dict(split.metadata), "weight_map": dict(split.tensor_to_filename)}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _own(tensor: Tensor) -> Tensor:
    """A tensor that shares its memory with no other, which safetensors wants: a view of a larger one is copied."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _check_finite(name: str, before: Tensor, after: Tensor) -> None:
    """A sum, which is fast, is not finite where an element is not; only then is each looked at, for sums may overflow."""
    if after.is_floating_point() and not torch.isfinite(after.sum()):
        bad = int((~torch.isfinite(after)).sum())
        if bad:
            why = (
                "" if not torch.isfinite(before).all() else f": {after.dtype} cannot hold them; choose another --dtype"
            )
            raise PublishError(f"{name}: {bad} of {after.numel()} values are not finite{why}")


def _write_small(checkpoint: Checkpoint, plan: Plan, folder: Path) -> None:
    config = hub_config(plan.model_name, plan.dtype)
    config.save_pretrained(folder)
    for file in CODE:
        shutil.copyfile(Path(llavavit.__file__).parent / file, folder / file)
    preprocessor = preprocessing(config.image_size)
    (folder / "preprocessor_config.json").write_text(_json(preprocessor), encoding="utf-8")
    parameters = sum(t.numel() for t in checkpoint.tensors.values())
    readme = card(config, plan.model_name, plan.source, plan.revision, parameters, plan.dtype_name, preprocessor)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    (folder / "example.py").write_text(example(), encoding="utf-8")


def preprocessing(image_size: int) -> dict[str, Any]:
    """preprocessor_config.json: how pixels are made of images. image_size: side in pixels."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": image_size, "width": image_size},
        "resample": 3,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
    }


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2) + "\n"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
