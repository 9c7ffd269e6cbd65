"""A seeded fault and the line that a report names for it: what `localisation.py` counts."""

from __future__ import annotations

import ast
import difflib
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "mutations")]

from mutant import MODEL  # noqa: E402

from verify import spec  # noqa: E402
from verify.spec import Spec  # noqa: E402

TINY = {
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_channels": 5,
    "image_size": 24,
    "patch_size": 4,
}
"""No two sizes are equal, so that none can stand in for another."""
PRELOAD = ("torch", "safetensors.torch", "transformers.modeling_utils", "transformers.activations")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault: where it is, where it was said to be."""

    corpus: str
    fault: str
    rewrites: tuple[str, ...]
    lines: tuple[int, ...]
    functions: tuple[str, ...]
    case: str
    file: str
    line: int
    function: str
    kind: str
    confidence: str
    seconds: float
    at: str = MODEL
    """The file that the seeding changed."""

    @property
    def distance(self) -> int:
        """Lines between what was said and the nearest line at fault."""
        if self.file != self.at or not self.line:
            return 10_000
        return min((abs(self.line - line) for line in self.lines), default=10_000)

    @property
    def in_function(self) -> bool:
        return self.distance == 0 or self.function in self.functions

    @property
    def mark(self) -> str:
        """How near it is, in a word."""
        elsewhere = "function" if self.in_function else "WRONG" if self.line else "no line"
        return {0: "line", 1: "beside"}.get(self.distance, elsewhere)

    def __str__(self) -> str:
        said = f"{self.function}:{self.line}" if self.line else "no line"
        return (
            f"{self.mark:9}{self.fault:40}{self.case:26}{self.kind:16}{self.confidence:10}{said} "
            f"at fault {self.functions} {self.lines[:4]} {self.rewrites}"
        )


def changed(before: str, after: str) -> tuple[int, ...]:
    """Numbers of the lines of `after` that are new; where lines only went, those on both sides of the gap."""
    lines: set[int] = set()
    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    for tag, _, _, start, end in matcher.get_opcodes():
        if tag != "equal":
            lines |= set(range(start + 1, end + 1)) if end > start else {start, start + 1}
    return tuple(sorted(lines))


def plain(name: str) -> str:
    """A function's name without the expressions in it that are functions of their own."""
    for part in (".<genexpr>", ".<listcomp>", ".<lambda>"):
        name = name.replace(part, "")
    return name


def functions(source: str, lines: tuple[int, ...]) -> tuple[str, ...]:
    """Qualified names of the innermost functions that lines are in."""
    spans: list[tuple[int, int, str]] = []

    def walk(node: ast.AST, names: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                if isinstance(child, ast.FunctionDef):
                    spans.append((child.lineno, child.end_lineno or 0, ".".join((*names, child.name))))
                walk(child, (*names, child.name))
            else:
                walk(child, names)

    walk(ast.parse(source), ())
    inside = [[s for s in spans if s[0] <= line <= s[1]] for line in lines]
    return tuple(sorted({max(found)[2] for found in inside if found}))


def folder() -> Path:
    """A fresh copy of the pair."""
    place = Path(tempfile.mkdtemp(prefix="localisation-"))
    for name in ("llavavit", "model_factory"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    return place


def preset() -> Spec:
    """The preset, all its cases included, with one tiny variant."""
    return spec.load(spec.PRESET).model_copy(update={"variants": {"tiny": TINY}, "default_variant": "tiny"})


def summary(rows: list[Row]) -> dict[str, float | int]:
    count = max(len(rows), 1)

    def share(hits: Iterator[bool]) -> float:
        return round(100 * sum(hits) / count, 1)

    return {
        "faults": len(rows),
        "right function %": share(r.in_function for r in rows),
        "right line %": share(r.distance == 0 for r in rows),
        "right line or beside it %": share(r.distance <= 1 for r in rows),
        "confirmed": sum(r.confidence == "confirmed" for r in rows),
        "confirmed and wrong": sum(r.confidence == "confirmed" and r.distance > 1 for r in rows),
        "aligned": sum(r.confidence == "aligned" for r in rows),
        "module or none": sum(r.confidence in ("module", "none") for r in rows),
        "seconds, median": round(statistics.median(r.seconds for r in rows), 2) if rows else 0,
    }
