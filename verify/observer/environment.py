"""What a side runs on: interpreter, packages, device, threads."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib import metadata
from typing import Any

import torch

from .build import Builder

PACKAGES = ("torch", "transformers", "numpy", "safetensors")


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """Versions and hardware of this side, JSON values; memory in bytes."""
    device = builder.device
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "memory_at_start": peak_memory(),
    }


def peak_memory() -> int:
    """Most memory that this process has held, in bytes. In a forked side that includes the imports it shares."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_device_memory() -> int:
    """Most GPU memory that this process's tensors have taken, in bytes; 0 where it never used a GPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0
