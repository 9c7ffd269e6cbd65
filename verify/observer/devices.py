"""Would a model run on another device than the CPU? Asked without one: its tensors go to torch's meta device, which has no
values, and every operation is looked at that mixes them with tensors that stayed behind.

A table that is no buffer stays on the CPU when a model is moved, and so does what forward makes without saying where. On
the CPU neither shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from . import dispatched, locate
from .build import Builder, Built
from .forward import call, load_inputs

MIXING = frozenset({
    "copy_", "_to_copy", "index", "index_put", "index_put_", "_index_put_impl_", "set_", "lift_fresh",
    "_pack_padded_sequence", "_pad_packed_sequence", "ctc_loss", "_ctc_loss", "_cudnn_ctc_loss",
})  # fmt: skip
"""Operations that take tensors of two devices: copies from one to the other, and indices and lengths that lie on the CPU."""
NUMPY = "device type tensor to numpy"
"""How torch says that it gives no array of what is not on the CPU."""


class _Watch(TorchDispatchMode):  # type: ignore[misc]
    """Notes the first operation that is given tensors of both devices, and does not run it."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self.root = root
        self.mixed: dict[str, Any] | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.rpartition("::")[2]
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        # a number in a tensor goes anywhere
        left = any(not t.is_meta and t.ndim for t in tensors)
        if left and any(t.is_meta for t in tensors) and name not in MIXING:
            self.mixed = {"operation": name, "location": locate.of_caller(self.root)}
            raise _Mixed
        return dispatched.run(func, args, kwargs)


class _Mixed(RuntimeError):
    """An operation was given tensors of two devices. Of the kind that torch raises, which a model may answer."""


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `forward`. Moves a model to the meta device and runs the case there.

    Returns mixed {operation, location}: the first operation that is given tensors of two devices; None where the pass has
    none. stopped: why it did not end, as where it reads a value to go on by; empty where it did.
    """
    with builder.caches.apart():  # a table without values must not be met later
        model, _ = builder.outline(args["values"])
        model.to("meta").eval()
        inputs = dict(_moved(load_inputs(args, Built(model=model, dtype=torch.float32, exact=False), builder)))
        stopped = ""
        with torch.no_grad(), _Watch(builder.settings["path"]) as watch:
            try:
                call(builder, model, inputs)
                watch.mixed = None  # the model had another way
            except _Mixed:
                pass
            except Exception as error:  # no value is there to be read
                stopped = f"{type(error).__name__}: {error}"[:300]
                if isinstance(error, TypeError) and NUMPY in stopped:
                    watch.mixed = watch.mixed or {"operation": "numpy", "location": _raised(error, builder)}
    return {"mixed": watch.mixed, "stopped": "" if watch.mixed else stopped}


def _moved(inputs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in inputs.items():
        yield name, value.to("meta") if isinstance(value, torch.Tensor) else value


def _raised(error: BaseException, builder: Builder) -> dict[str, Any] | None:
    """The innermost line of the side's own that raised."""
    place, trace = None, error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if locate.is_own(file, builder.settings["path"]):
            place = {**locate.of_frame(trace.tb_frame, builder.settings["path"]), "line": trace.tb_lineno}
        trace = trace.tb_next
    return place
