"""Drawn images through a side's own processor: what the model would be given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..weights import stream
from .build import Builder, resolve
from .faults import Unusable
from .values import container, describe

BANDS = {"RGB": 3, "L": 1, "RGBA": 4, "LA": 2, "P": 1, "CMYK": 4, "1": 1}
"""Bytes of a pixel by Pillow's name of the mode. I;16 has one value of two bytes."""
COLOURS = 256
WIDE = "I;16"

_made: dict[str, Any] = {}


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: make {role: {target, kwargs, arguments, output}}, size [width, height], mode, seed.

    Returns outputs and arrays as `forward` does, with one tensor "pixels" of whatever axes, those of size one left out.
    Raises Unusable without Pillow, and where what comes out holds no image.
    """
    about = args["make"][builder.settings["role"]]
    key = json.dumps(about, sort_keys=True)
    if key not in _made:
        _made[key] = _processor(builder, about)
    image = _image(args["mode"], args["size"], args["seed"])
    output = _made[key](image, **about["arguments"])
    pixels = _pixels(output, about["output"])
    return {
        "outputs": [{"path": "pixels", **describe(pixels)}],
        "container": container(output),
        "ordered": False,
        "arrays": {"pixels": pixels},
    }


def _processor(builder: Builder, about: Mapping[str, Any]) -> Any:
    """What takes an image: made by the class or function that the spec names, or the named object itself."""
    where = f"preprocessing.{builder.settings['role']}.make"
    found = resolve(about["target"], builder.settings["path"], where)
    if isinstance(found, type) or hasattr(found, "__code__") or hasattr(found, "__func__"):
        found = found(**about["kwargs"])
    if not callable(found):
        raise Unusable(
            f"`{where}: {about['target']}` gave a {type(found).__name__}; expected something that takes an image"
        )
    return found


def _image(mode: str, size: list[int], seed: int) -> Any:
    """A drawn image: a smooth gradient with noise, so that filters, crops and channel orders all show."""
    try:
        from PIL import Image
    except ImportError as error:
        raise Unusable('the check `preprocessing` needs Pillow: pip install "llavavit-verify[images]"') from error
    width, height = size
    random = stream(seed, f"images/{mode}/{width}x{height}")
    bands = BANDS.get(mode, 1)
    slope = np.linspace(0.0, 1.0, height)[:, None, None] + np.linspace(0.0, 1.0, width)[None, :, None]
    noise = random.random((height, width, bands))
    unit = 0.25 * slope * np.linspace(1.0, 0.6, bands) + 0.5 * noise
    if mode == WIDE:
        return Image.fromarray(np.round(unit[..., 0] * (2**16 - 1)).astype(np.uint16))
    values = np.round(unit * (COLOURS - 1)).astype(np.uint8)
    if mode == "1":
        return Image.frombytes("L", (width, height), values[..., 0].tobytes()).convert("1")
    image = Image.frombytes(mode, (width, height), values.tobytes())
    if mode == "P":
        image.putpalette(random.integers(0, COLOURS, COLOURS * 3).astype(np.uint8).tolist())
    return image


def _pixels(output: Any, name: str) -> torch.Tensor:
    """The image in an output. name: its key there; "": `pixel_values`, or the output itself."""
    if name or (isinstance(output, Mapping) and "pixel_values" in output):
        key = name or "pixel_values"
        output = output[key] if isinstance(output, Mapping) else getattr(output, key)
    while isinstance(output, list | tuple) and len(output) == 1:
        output = output[0]
    if not isinstance(output, torch.Tensor):
        output = torch.from_numpy(np.array(output))  # an array, a list of numbers, an image
    if output.ndim < 2:
        raise Unusable(f"the processor gave a tensor of shape {list(output.shape)}; `output` names where the image is")
    return output[(0,) * next((n for n, size in enumerate(output.shape) if size != 1), output.ndim - 1)]
