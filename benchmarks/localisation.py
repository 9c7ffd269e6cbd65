"""How often the first divergence is the line at fault, on seeded faults, and what the second pass costs.

    python benchmarks/localisation.py [--only NAME ...] [--plain | --stacked] [--budget N] [--jobs N] [--json FILE]

Two corpora of faults that a forward pass shows and that are at a line of the candidate: those of
`tests/mutations/seeded_faults.py`, and as many as --budget says of those that the self-test's operators make of the
model's source, one of each kind before the second of any, by seed 0. Each is seeded into a copy of the pair and run
through the whole verifier, once as it is and once on top of three harmless rewrites that fit beside it
(`tests/mutations/harmless_rewrites.py`; the self-test's own for its faults). The lines at fault are those that the
seeding changed, by comparing the sources; the functions at fault are those that these lines are in.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import itertools
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "mutations")]

from harmless_rewrites import REWRITES  # noqa: E402
from mutant import MODEL, Fault, Rewrite  # noqa: E402
from seeded_faults import FAULTS  # noqa: E402

from verify import pair, spec  # noqa: E402
from verify.checks.base import Job, Scene  # noqa: E402
from verify.explain import OF_VALUES  # noqa: E402
from verify.report import Report, Verdict  # noqa: E402
from verify.run import Options, run  # noqa: E402
from verify.scenes import values_of  # noqa: E402
from verify.selftest.mutant import compiles, in_turn, of_source  # noqa: E402
from verify.selftest.syntax import Edit, same_program  # noqa: E402
from verify.side import Servers, cpus  # noqa: E402

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
CASES = ("image", "dim-image", "video-2-frames", "rms-norm", "eager-attention", "other-values", "residual-top-k")
"""Tried in this order for a fault that names no case, until one differs."""
PRELOAD = ("torch", "safetensors.torch", "transformers.modeling_utils", "transformers.activations")
STACKED = 3


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

    @property
    def distance(self) -> int:
        """Lines between what was said and the nearest line at fault."""
        if self.file != MODEL or not self.line:
            return 10_000
        return min((abs(self.line - line) for line in self.lines), default=10_000)

    @property
    def in_function(self) -> bool:
        return self.distance == 0 or self.function in self.functions


def changed(before: str, after: str) -> tuple[int, ...]:
    """Numbers of the lines of `after` that are new; where lines only went, those on both sides of the gap."""
    lines: set[int] = set()
    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    for tag, _, _, start, end in matcher.get_opcodes():
        if tag != "equal":
            lines |= set(range(start + 1, end + 1)) if end > start else {start, start + 1}
    return tuple(sorted(lines))


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


def stack(fault: Fault, place: Path) -> tuple[str, ...]:
    """Applies three harmless rewrites to the model in `place` on top of which the fault still applies."""
    file = place / MODEL
    order = [r for r in REWRITES if r.file == MODEL]
    random.Random(fault.name).shuffle(order)
    done: list[str] = []
    for rewrite in order:
        if len(done) == STACKED:
            break
        before = file.read_text(encoding="utf-8")
        try:
            rewrite.apply(place)
            Rewrite.apply(fault, place)
        except (AssertionError, SyntaxError):
            file.write_text(before, encoding="utf-8")
            continue
        file.write_text(before, encoding="utf-8")
        rewrite.apply(place)
        done.append(rewrite.name)
    return tuple(done)


def measure(name: str, fault: Fault, stacked: bool, servers: Servers) -> Row | None:
    """Seeds one fault of a corpus and runs the verifier.

    None where no value of an output differs: where no case does, which is for the detection tests to judge, where one
    side raises, and where only which outputs there are differs, which no operation decides.
    """
    place = folder()
    try:
        rewrites = stack(fault, place) if stacked else ()
        before = (place / MODEL).read_text(encoding="utf-8")
        fault.apply(place)
        after = (place / MODEL).read_text(encoding="utf-8")
        lines = changed(before, after)
        tiny = spec.load(spec.PRESET).model_copy(update={"variants": {"tiny": TINY}, "default_variant": "tiny"})
        for case in (fault.case,) if fault.case else fault.cases or CASES:
            started = time.perf_counter()
            options = Options(checks=("forward",), cases=(case,), device="cpu", processors=1)
            report = run(tiny, place, options, servers=servers)
            if report.verdict == Verdict.DIFFERENT:
                if not any(f.kind in OF_VALUES for f in report.findings):
                    return None
                seconds = time.perf_counter() - started
                return row(name, fault, rewrites, lines, functions(after, lines), case, report, seconds)
        return None
    finally:
        shutil.rmtree(place, ignore_errors=True)


def row(
    corpus: str,
    fault: Fault,
    rewrites: tuple[str, ...],
    lines: tuple[int, ...],
    names: tuple[str, ...],
    case: str,
    report: Report,
    seconds: float,
) -> Row:
    first = report.first_divergence
    place = first.candidate if first else None
    name = place.name if place else ""
    for part in (".<genexpr>", ".<listcomp>", ".<lambda>"):
        name = name.replace(part, "")
    return Row(
        corpus=corpus,
        fault=fault.name,
        rewrites=rewrites,
        lines=lines,
        functions=names,
        case=case,
        file=place.file if place else "",
        line=place.line if place else 0,
        function=name,
        kind=first.kind if first else "",
        confidence=first.confidence if first else "none",
        seconds=round(seconds, 2),
    )


def by_hand() -> list[Fault]:
    """The faults that have a place: those of the forward check with a class to blame."""
    return [f for f in FAULTS if f.check == "forward" and f.owner and f.file == MODEL]


def by_operator() -> Iterator[Fault]:
    """The faults that the self-test's operators make of the model's source, in the order in which it chooses."""
    source = (ROOT / MODEL).read_bytes()
    sites = [m for m in of_source(MODEL, source) if not m.harmless and m.edit is not None]
    names: set[str] = set()
    for site in in_turn(sites, 0):
        assert site.edit is not None
        after = site.edit.apply(source)
        name = f"{site.kind}@{site.edit.line}"
        if name not in names and compiles(after) and not same_program(source, after):
            names.add(name)
            yield Fault(name=name, edits=(replacement(source, site.edit),))


def replacement(source: bytes, edit: Edit) -> tuple[str, str]:
    """An edit as two texts of whole lines, the first of which is in the source once."""
    start, end = source.rfind(b"\n", 0, edit.start) + 1, source.find(b"\n", edit.end) + 1
    while source.count(source[start:end]) > 1:
        start, end = source.rfind(b"\n", 0, start - 1) + 1, source.find(b"\n", end) + 1
    new = source[start : edit.start] + edit.new.encode() + source[edit.end : end]
    return source[start:end].decode(), new.decode()


def rows_of(
    name: str, faults: Iterator[Fault], budget: int | None, stacked: bool, servers: Servers, jobs: int
) -> Iterator[Row]:
    """Rows of the first faults of a corpus that a case shows, at most `budget`, several at a time, in order."""
    found = 0
    with ThreadPoolExecutor(jobs) as pool:
        while (some := list(itertools.islice(faults, 2 * jobs))) and (budget is None or found < budget):
            for fault, one in zip(some, pool.map(lambda f: measure(name, f, stacked, servers), some), strict=True):
                if one is None:
                    print(f"{name} {fault.name}: no value differs", flush=True)
                elif budget is None or found < budget:
                    found += 1
                    yield one


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


def merged(files: list[Path]) -> None:
    """Prints the summaries of all rows in these files."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for name in ("plain", "stacked"):
        rows = [
            Row(**{**r, **{k: tuple(r[k]) for k in ("rewrites", "lines", "functions")}})
            for f in found
            for r in f[name]["rows"]
        ]
        for corpus in sorted({r.corpus for r in rows}):
            print(name, corpus, json.dumps(summary([r for r in rows if r.corpus == corpus]), indent=1))


def cost(servers: Servers, rounds: int = 7) -> dict[str, list[float]]:
    """Seconds of a forward pass, of the pass that records operations, and their ratio, for each side of the base
    variant's first case; medians."""
    loaded = spec.load(spec.PRESET)
    variant = "base"
    found = {}
    with pair.started(loaded, ROOT, servers, seed=0, device="cpu", timeout=600.0) as (sides, scratch):
        from verify.cases import draw_inputs, write_inputs

        case = loaded.cases["image"]
        values = values_of(loaded, variant, "forward", case, None)
        file = scratch / "cost.safetensors"
        write_inputs(draw_inputs(case, "image", values, 0), file)
        scene = Scene(case=case, values=values, inputs=file)
        job = Job(spec=loaded, base=ROOT, variant=variant, seed=0, scenes={("forward", "image"): scene})
        for side in sides:
            seconds: dict[str, list[float]] = {"forward": [], "operations": []}
            for number, op in itertools.product(range(rounds + 1), seconds):
                answer = side.ask(job.ask(op, "forward", "image", f"{op}-{number}"))
                if answer.fault is not None:
                    raise RuntimeError(str(answer.fault))
                if number:
                    seconds[op].append(answer.seconds)
            a, b = (statistics.median(seconds[op]) for op in ("forward", "operations"))
            found[side.settings.role] = [round(a, 4), round(b, 4), round(b / a, 2)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], help="names of faults")
    parser.add_argument("--plain", action="store_true", help="not on top of rewrites")
    parser.add_argument("--stacked", action="store_true", help="on top of rewrites alone")
    parser.add_argument("--budget", type=int, default=60, help="faults of the second corpus")
    parser.add_argument("--part", default="1/1", help="of several machines or processes the share of one, such as 2/8")
    parser.add_argument("--merge", type=Path, nargs="+", help="JSON files of parts: print their summary, run nothing")
    parser.add_argument("--jobs", type=int, default=cpus(), help="how many at a time")
    parser.add_argument("--json", type=Path, help="write every row here")
    parser.add_argument("--no-cost", action="store_true", help="do not time the second pass")
    chosen = parser.parse_args()
    if chosen.merge:
        merged(chosen.merge)
        return
    both = chosen.plain == chosen.stacked
    result: dict[str, object] = {}
    with Servers(PRELOAD) as servers:
        for name, stacked in (("plain", False), ("stacked", True)):
            if not both and stacked != chosen.stacked:
                continue
            part, parts = (int(n) for n in chosen.part.split("/"))
            hand, operator = (
                itertools.islice((f for f in faults if not chosen.only or f.name in chosen.only), part - 1, None, parts)
                for faults in (by_hand(), by_operator())
            )
            rows = []
            for one in itertools.chain(
                rows_of("by hand", hand, None, stacked, servers, chosen.jobs),
                rows_of("operator", operator, -(-chosen.budget // parts), stacked, servers, chosen.jobs),
            ):
                rows.append(one)
                mark = {0: "line", 1: "beside"}.get(one.distance, "function" if one.in_function else "WRONG")
                print(
                    f"{name:8}{mark:9}{one.fault:40}{one.case:26}{one.kind:16}{one.confidence:10}"
                    f"{one.function}:{one.line} at fault {one.functions} {one.lines[:4]} {one.rewrites}",
                    flush=True,
                )
            for corpus in sorted({r.corpus for r in rows}):
                print(corpus, json.dumps(summary([r for r in rows if r.corpus == corpus])))
            result[name] = {"summary": summary(rows), "rows": [asdict(r) for r in rows]}
            print(json.dumps(summary(rows), indent=2))
        if not chosen.no_cost:
            result["cost"] = cost(servers)
            print("seconds of a forward pass, of the second pass, and their ratio:", json.dumps(result["cost"]))
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
