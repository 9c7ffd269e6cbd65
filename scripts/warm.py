"""Imports what a run of the verifier and of the Action imports, so that its byte code is kept in the image."""

import compileall
import importlib

MODULES = (
    "torch",
    "torch.fx.experimental.symbolic_shapes",
    "torch.utils.checkpoint",
    "torch.utils.flop_counter",
    "safetensors.torch",
    "safetensors.numpy",
    "transformers.modeling_utils",
    "transformers.modeling_outputs",
    "transformers.activations",
    "transformers.models.auto",
    "transformers.models.clip.image_processing_clip",
    "pip._internal.cli.main",
    "entrypoint.__main__",
    "entrypoint.cli",
    "verify.cli",
)

for name in MODULES:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(f"warm.py: {name} is left out: {error}")
compileall.compile_dir("/opt/llavavit-verify", quiet=1)
