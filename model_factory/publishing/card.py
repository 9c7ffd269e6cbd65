# SPDX-License-Identifier: Apache-2.0
"""The model card and the example of a staged folder, computed from its configuration. Nothing is claimed that is not
in it: no licence of the weights, no data, no score."""

from __future__ import annotations

import re
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

EXAMPLE = """# Loads the model and encodes one image and one short video.
# Run: python example.py [FOLDER], or python example.py REPOSITORY [REVISION]
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModel

source = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).resolve().parent)
revision = sys.argv[2] if len(sys.argv) > 2 else None
model = AutoModel.from_pretrained(source, revision=revision or "main", trust_remote_code=True, dtype="auto").eval()

if Path(source).is_dir():
    settings = Path(source, "preprocessor_config.json")
else:
    from huggingface_hub import hf_hub_download

    settings = Path(hf_hub_download(source, "preprocessor_config.json", revision=revision))
settings = json.loads(settings.read_text())
mean = torch.tensor(settings["image_mean"]).view(1, 3, 1, 1)
std = torch.tensor(settings["image_std"]).view(1, 3, 1, 1)
side = 4 * model.config.patch_size  # any multiple of patch_size runs; training used settings["size"]

pixels = torch.rand(1, 3, side, side)  # an RGB image scaled to 0 ... 1
image = (pixels - mean) / std
video = image.unsqueeze(2).expand(-1, -1, 3, -1, -1)  # (batch, channels, frames, height, width)

with torch.no_grad():
    for name, pixel_values in (("image", image), ("video", video)):
        output = model(pixel_values.to(model.dtype))
        print(name, "tokens", tuple(output.last_hidden_state.shape), "pooled", tuple(output.pooler_output.shape))
"""

TEXT = """
# {title}

LlavaViT, a vision transformer for images and videos, with rotary positions over time, height and width.

| | |
|---|---|
| parameters | {parameters:,} |
| stored as | {dtype}, safetensors |
| hidden size | {hidden_size} |
| layers | {num_hidden_layers} |
| attention heads | {num_attention_heads} |
| MLP size | {intermediate_size} |
| patch size | {patch_size} × {patch_size} pixels |
| image size in training | {image_size} × {image_size} pixels; any multiple of the patch size runs |
| norm | {layer_norm_type}, eps {layer_norm_eps} |
| activation | {hidden_act} |
| pooling head | {head} |

## Use

Needs `torch` and `transformers` 4.57 or newer. The code of the model is in this repository, hence `trust_remote_code`.

```python
import torch
from transformers import AutoModel

model = AutoModel.from_pretrained("{source}", {revision}trust_remote_code=True, dtype="auto").eval()
pixel_values = torch.rand(1, 3, {side}, {side})  # an RGB image, scaled to 0 … 1
mean, std = torch.tensor({mean}), torch.tensor({std})
pixel_values = (pixel_values - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
with torch.no_grad():
    output = model(pixel_values.to(model.dtype))
output.last_hidden_state  # (1, {tokens}, {hidden_size})
```

Videos are `(batch, 3, frames, height, width)`. `example.py` runs both.

The two `.py` files are under the Apache License 2.0. What the weights were trained on, how well they do and under which
licence they may be used is for their publisher to add here.
"""


def example() -> str:
    """A program that runs beside the weights, or with a repository's name."""
    return EXAMPLE


def card(
    config: Any,
    title: str,
    source: str,
    revision: str | None,
    parameters: int,
    dtype: str,
    preprocessor: dict[str, Any],
) -> str:
    """README.md of a repository. title: the variant. source, revision: what AutoModel is given. parameters: how many
    numbers."""
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="image-feature-extraction",
        tags=["custom_code", config.model_type, "vision"],
    )
    side = 4 * config.patch_size
    values = config.to_dict() | {"head": "attention pooling" if config.use_head else "none"}
    filled = TEXT.format(
        **{k: values[k] for k in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")},
        **{
            k: values[k]
            for k in ("patch_size", "image_size", "layer_norm_type", "layer_norm_eps", "hidden_act", "head")
        },
        title=title,
        source=source,
        revision="" if revision is None else f'revision="{revision}", ',
        parameters=parameters,
        dtype=dtype,
        side=side,
        tokens=(side // config.patch_size) ** 2,
        mean=preprocessor["image_mean"],
        std=preprocessor["image_std"],
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n{filled}"))


def generated(text: str, config: Any, preprocessor: dict[str, Any]) -> bool:
    """Whether a README.md is just what `card` writes for this configuration, whatever the options were: nothing that
    somebody wrote is lost with it."""
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    loaded = re.search(r'from_pretrained\("(.+?)", (?:revision="(.+?)", )?trust', text)
    parameters = re.search(r"^\| parameters \| ([\d,]+) \|$", text, re.MULTILINE)
    dtype = re.search(r"^\| stored as \| (\w+), ", text, re.MULTILINE)
    if not (title and loaded and parameters and dtype):
        return False
    count = int(parameters[1].replace(",", ""))
    return card(config, title[1], loaded[1], loaded[2], count, dtype[1], preprocessor) == text
