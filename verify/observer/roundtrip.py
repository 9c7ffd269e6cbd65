"""save_pretrained, then from_pretrained and AutoModel in a fresh process: does every value come back, and what fills
those that a checkpoint lacks?"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from . import locate
from .build import Builder
from .configuration import plain
from .faults import Unusable
from .initialisation import described, digest
from .values import dtype_name, empty_is_nan

DIRTY_BYTES = 64 * 2**20

BOOKKEEPING = (
    *("transformers_version", "_name_or_path", "_commit_hash", "architectures", "auto_map", "dtype", "torch_dtype"),
    *("attn_implementation", "_attn_implementation", "_attn_implementation_autoset"),
)
"""What transformers writes into a configuration while it saves or loads; beside auto_map, which names a folder afterwards."""

UNEXPECTED = "a_tensor_that_no_model_has"

ASKED: dict[str, Any] = {"dtype": torch.bfloat16, "attn_implementation": "eager"}
"""What a load asks for: a dtype that no checkpoint has which is saved in float32, and attention that every model has."""


def save(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), code {role: files to put beside the checkpoint, relative to the side's folder}.

    Writes a checkpoint of a model with drawn float32 weights and, where its class is one of transformers, another of the
    same model in bfloat16. Returns tensors {name: digest} of every parameter and buffer, saved or not; saved {key: digest} of
    the safetensors files; narrow {key: [dtype, digest]} of those in bfloat16; auto_map {class of transformers: class} of
    config.json, None where there is no such file; files, how many the bfloat16 checkpoint has, which is asked to have
    several; prefix, what a larger model calls this one; the class's name; frozen: names of parameters that take no gradient; and
    config, see `_configuration`. Unusable where the model has no save_pretrained.
    """
    model = builder.built(args["values"], "fp32").model
    if not callable(getattr(model, "save_pretrained", None)):
        raise Unusable(f"{type(model).__name__} has no save_pretrained()")
    folder = folder_of(builder)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    for file in args["code"][builder.settings["role"]]:
        shutil.copy(os.path.join(builder.settings["path"], file), folder)
    found: dict[str, Any] = {"tensors": _tensors(model), "class": type(model).__name__, "auto_map": _auto_map(folder)}
    found |= {"frozen": _frozen(model), "config": _configuration(model)}
    found["saved"] = {k: digest(v) for k, v in saved_in(folder).items()}
    if _of_transformers(type(model)):
        narrow = folder_of(builder, narrow=True)
        shutil.rmtree(narrow, ignore_errors=True)
        found["files"] = _in_shards(model.to(torch.bfloat16), narrow)
        found["prefix"] = model.base_model_prefix
        found["narrow"] = {k: [dtype_name(v), digest(v)] for k, v in saved_in(narrow).items()}
    builder.release()
    return found


def _in_shards(model: Any, folder: str) -> int:
    """Saves a model in bfloat16 so that no file is larger than a third of it. How many safetensors files that gives; 0 where
    its method takes no such size, and one file was written."""
    size = 2 * sum(tensor.numel() for tensor in model.state_dict().values() if isinstance(tensor, torch.Tensor))
    try:
        model.save_pretrained(folder, max_shard_size=max(size // 3, 1))
    except TypeError:
        model.save_pretrained(folder)
        return 0
    return len(list(Path(folder).glob("*.safetensors")))


def _auto_map(folder: str) -> dict[str, str] | None:
    """What config.json says that AutoModel and the like load; None where there is no such file."""
    file = Path(folder, "config.json")
    if not file.is_file():
        return None
    told = json.loads(file.read_text(encoding="utf-8")).get("auto_map") or {}
    return {str(key): str(value) for key, value in told.items()}


def load(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), auto (through AutoModel and the code beside the checkpoint), narrow (the checkpoint in
    bfloat16, in the dtype that it has), asked (with what ASKED names), prefix (put
    in front of every key of the checkpoint), elsewhere (under another interpreter than that which
    saved it). Loads twice, where asked or with a prefix once.

    Memory is dirtied first: a buffer that loading leaves unset then holds noise and not, by luck, zeros.
    Returns loads [{tensors {name: digest}, dtypes {name: dtype}, report {missing_keys, …: [names]}, class, remote,
    library, train, frozen, config, attention}]. remote: whether the class came from the code beside the checkpoint. library:
    whether it is one of transformers. train: paths of modules in train mode. frozen, config: as `save` has them. attention:
    what the configuration says of its implementation. made {name: digest}, elsewhere: the buffers as the model's code
    makes them there, where another release of torch may round otherwise. Unusable where the model has no from_pretrained or, for the
    narrow checkpoint and where asked, is of no class of transformers, which alone takes a dtype.
    """
    if args["auto"]:
        kind = importlib.import_module("transformers").AutoModel
        own = os.path.join(builder.settings["scratch"], "modules")  # this side's, not shared with the other
        remote: Any = importlib.import_module("transformers.dynamic_module_utils")
        remote.HF_MODULES_CACHE = own
    else:
        kind = hub_style(builder, args)
    narrow, asked = args.get("narrow", False), args.get("asked", False)
    if (narrow or asked) and not _of_transformers(kind):
        raise Unusable(f"{kind.__name__} is no class of transformers, whose from_pretrained() takes a dtype")
    more: dict[str, Any] = {"trust_remote_code": True} if args["auto"] else {}
    if narrow or asked:
        more[_dtype_argument()] = "auto" if narrow else ASKED["dtype"]
    if asked:
        more["attn_implementation"] = ASKED["attn_implementation"]
    folder, once = folder_of(builder, narrow=narrow), asked or "prefix" in args
    if "prefix" in args:
        tensors = {f"{args['prefix']}.{key}": tensor for key, tensor in saved_in(folder).items()}
        _write(Path(builder.settings["scratch"], "prefixed"), Path(folder), tensors)
        folder = os.path.join(builder.settings["scratch"], "prefixed")
    loads = []
    for _ in range(1 if once else 2):
        if not once:
            _dirty()
        loads.append(_told(*loaded(kind, folder, **more)))
    made = builder.outlined(args["values"])[0].named_buffers() if args.get("elsewhere") else ()
    return {"loads": loads, "made": {name: digest(buffer) for name, buffer in made if not buffer.is_meta}}


def lacking(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), seed. Loads what `save` wrote without every other tensor, then without the rest.

    So each saved tensor is left out once, and of most modules one tensor is there while another is not. What is drawn is
    drawn with the seed, and once more with the next one.

    Returns, as `initialisation` does, parameters [{name, shape, dtype, …}] of what the left-out ones are filled with,
    buffers among them, modules, location and arrays. Beside that, told: names of which the load report says that they
    were missing; unexpected: keys of which it says that no model has them, such as UNEXPECTED, which is put into every
    checkpoint of a class of transformers, None for another; changed: names that came back with other values from the checkpoint that has them. One that is left
    without memory or without values counts as not finite. Unusable where the model has no from_pretrained or no safetensors.
    """
    kind = hub_style(builder, args)
    saved = saved_in(folder_of(builder))
    if not saved:
        raise Unusable(f"{kind.__name__} writes no safetensors")
    found: dict[str, Any] = {"parameters": [], "told": [], "unexpected": None, "changed": [], "arrays": {}}
    extra = {UNEXPECTED: torch.zeros(1)} if _of_transformers(kind) else {}
    for folder, kept in halves(builder, extra):
        model, told, again = _filled(kind, folder, args["seed"])
        found["told"] += sorted(map(str, told.get("missing_keys", ())))
        if extra:
            found["unexpected"] = [*(found["unexpected"] or ()), *sorted(map(str, told.get("unexpected_keys", ())))]
        found["changed"] += [key for key in kept if key in again and again[key] != digest(saved[key])]
        for name, tensor in named(model).items():
            if name in saved and name not in kept:
                held = torch.full(tensor.shape, torch.nan) if tensor.is_meta else tensor.detach()
                about = described(held, again[name])
                if not about["finite"]:  # empty memory is no value, which could be the other side's
                    about["digest"] = f"unset in the {builder.settings['role']}"
                found["parameters"].append(
                    {"name": name, "shape": list(held.shape), "dtype": dtype_name(held), **about}
                )
                if about["steady"] and about["lowest"] != about["highest"]:
                    found["arrays"][name] = held
    root = builder.settings["path"]
    found["modules"] = [{"path": p, "location": locate.of_class(m, root)} for p, m in model.named_modules()]
    return {**found, "location": locate.of_class(model, root)}


def halves(builder: Builder, more: Mapping[str, torch.Tensor] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Two checkpoints that hold every other tensor of the saved one, and the rest: the folder, which the next one takes,
    and the keys that are kept. more: other tensors that are in both."""
    saved = saved_in(folder_of(builder))
    folder = Path(builder.settings["scratch"], "lacking")
    for kept in (sorted(saved)[::2], sorted(saved)[1::2]):
        _write(folder, Path(folder_of(builder)), {key: saved[key] for key in kept} | dict(more or {}))
        yield str(folder), kept


def _write(folder: Path, whole: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A checkpoint with these tensors in one file, and all else that is in the folder of a whole one."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _filled(kind: Any, folder: str, seed: int) -> tuple[nn.Module, dict[str, Any], dict[str, str]]:
    """A model loaded with a seed, its load report, and the digests of its tensors when loaded with another seed."""
    torch.manual_seed(seed + 1)
    again = _tensors(loaded(kind, folder)[0])
    torch.manual_seed(seed)
    return *loaded(kind, folder), again


def hub_style(builder: Builder, args: dict[str, Any]) -> Any:
    """The model's class. Unusable where it cannot load."""
    kind = type(builder.outline(args["values"])[0])
    if not callable(getattr(kind, "from_pretrained", None)):
        raise Unusable(f"{kind.__name__} has no from_pretrained()")
    return kind


def folder_of(builder: Builder, *, narrow: bool = False) -> str:
    return os.path.join(builder.settings["scratch"], "narrow" if narrow else "checkpoint")


def saved_in(folder: str) -> dict[str, torch.Tensor]:
    """What the safetensors files of a checkpoint hold."""
    return {
        key: tensor for file in sorted(Path(folder).glob("*.safetensors")) for key, tensor in load_file(file).items()
    }


def loaded(kind: Any, folder: str, **more: Any) -> tuple[nn.Module, dict[str, Any]]:
    """The model and its load report, which only a class of transformers or AutoModel gives. What torch gives as empty memory
    is NaN. more: further arguments of from_pretrained."""
    with empty_is_nan():
        if issubclass(kind, nn.Module) and not _of_transformers(kind):
            return kind.from_pretrained(folder), {}
        model, told = kind.from_pretrained(folder, output_loading_info=True, **more)
        return model, told


def _dtype_argument() -> str:
    """What from_pretrained calls the dtype that it loads in: another name since transformers 5, which 4 takes from 4.56 on."""
    version = importlib.import_module("transformers").__version__
    return "torch_dtype" if int(version.partition(".")[0]) < 5 else "dtype"


def _of_transformers(kind: Any) -> bool:
    library = sys.modules.get("transformers.modeling_utils")
    return library is not None and issubclass(kind, library.PreTrainedModel)


def _told(model: nn.Module, told: dict[str, Any]) -> dict[str, Any]:
    return {
        "tensors": _tensors(model),
        "dtypes": {name: dtype_name(tensor) for name, tensor in named(model).items()},
        "report": {key: sorted(map(str, names)) for key, names in told.items() if not isinstance(names, str) and names},
        "class": type(model).__name__,
        "remote": type(model).__module__.startswith("transformers_modules"),
        "library": _of_transformers(type(model)),
        "train": [path for path, module in model.named_modules() if module.training],
        "frozen": _frozen(model),
        "config": _configuration(model),
        "attention": plain(getattr(getattr(model, "config", None), "_attn_implementation", None)),
    }


def _frozen(model: nn.Module) -> list[str]:
    """Names of parameters that take no gradient."""
    return [name for name, parameter in model.named_parameters(remove_duplicate=False) if not parameter.requires_grad]


def _configuration(model: nn.Module) -> dict[str, Any] | None:
    """What a model's configuration holds, less BOOKKEEPING; None where it has none that says so."""
    to_dict = getattr(getattr(model, "config", None), "to_dict", None)
    return _without_bookkeeping(plain(to_dict())) if callable(to_dict) else None


def _without_bookkeeping(value: Any) -> Any:
    """Nested configurations have their own."""
    if isinstance(value, dict):
        return {key: _without_bookkeeping(item) for key, item in value.items() if key not in BOOKKEEPING}
    return value


def named(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer by name."""
    return dict([*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)])


def _tensors(model: nn.Module) -> dict[str, str]:
    """Digest of every parameter and buffer by name; one left on the meta device is "unset"."""
    return {name: "unset" if tensor.is_meta else digest(tensor) for name, tensor in named(model).items()}


def _dirty() -> None:
    """Fills and frees memory, small blocks and large, so that what follows is given used pages."""
    with contextlib.suppress(MemoryError, RuntimeError):
        blocks = [torch.full((size,), 7.7e33) for size in (4, 16, 64, 256, 1024, 16_384) for _ in range(64)]
        blocks.append(torch.full((DIRTY_BYTES // 4,), 7.7e33))
        del blocks
