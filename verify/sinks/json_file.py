"""The report as JSON (docs/report.md)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from verify.report import Report
from verify.sinks.files import save


def render(report: Report) -> str:
    """Standard JSON, UTF-8, keys in schema order. NaN and infinities become text, which JSON numbers cannot hold."""
    return json.dumps(_finite(report.model_dump(mode="python")), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def write(report: Report, file: Path) -> None:
    save(render(report), file)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return getattr(value, "value", value)
