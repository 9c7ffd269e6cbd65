"""How often the first divergence is the line at fault, on seeded faults, and what the second pass costs.

    python benchmarks/localisation.py [--only NAME ...] [--plain | --stacked | --others] [--corpus hand|operator]
        [--budget N] [--seed N] [--device cpu|cuda] [--jobs N] [--json FILE]

Two corpora of faults that a forward pass shows and that are at a line of the candidate: those of
`tests/mutations/seeded_faults.py`, and as many as --budget says of those that the self-test's operators make of the
model's source, one of each kind before the second of any, by --seed. Each is seeded into a copy of the pair and run
through the whole verifier, once as it is and once on top of three harmless rewrites that fit beside it
(`tests/mutations/harmless_rewrites.py`; the self-test's own for its faults). The lines at fault are those that the
seeding changed, by comparing the sources; the functions at fault are those that these lines are in.

A third group are faults that other findings show, such as those of gradients, precision and round trips: by hand, plain
only, by check. See `other_findings.py`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "mutations")]

from harmless_rewrites import REWRITES  # noqa: E402
from mutant import MODEL, Fault, Rewrite  # noqa: E402
from other_findings import CHECKS, CORPUS, other_findings  # noqa: E402
from placement import PRELOAD, Row, changed, folder, functions, plain, preset, summary  # noqa: E402
from seeded_faults import FAULTS  # noqa: E402

from verify import pair, spec  # noqa: E402
from verify.checks.base import Job, Scene  # noqa: E402
from verify.edits import Edit, same_program  # noqa: E402
from verify.explain import OF_VALUES  # noqa: E402
from verify.report import Report, Verdict  # noqa: E402
from verify.run import Options, run  # noqa: E402
from verify.scenes import values_of  # noqa: E402
from verify.selftest.mutant import compiles, in_turn, of_source  # noqa: E402
from verify.side import Servers, cpus  # noqa: E402

CASES = ("image", "dim-image", "video-2-frames", "rms-norm", "eager-attention", "other-values", "residual-top-k")
"""What the verifier is given beside the cases that a fault names."""
STACKED = 3


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


def measure(name: str, fault: Fault, stacked: bool, device: str, servers: Servers) -> Row | None:
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
        tiny = preset()
        cases = tuple(dict.fromkeys(((fault.case,) if fault.case else fault.cases) + CASES))
        started = time.perf_counter()
        options = Options(checks=("forward",), cases=cases, device=device, processors=1)
        report = run(tiny, place, options, servers=servers)
        if report.verdict != Verdict.DIFFERENT or not any(f.kind in OF_VALUES for f in report.findings):
            return None
        seconds = time.perf_counter() - started
        case = report.first_divergence.case if report.first_divergence else ""
        return row(name, fault, rewrites, lines, functions(after, lines), case, report, seconds)
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
    return Row(
        corpus=corpus,
        fault=fault.name,
        rewrites=rewrites,
        lines=lines,
        functions=names,
        case=case,
        file=place.file if place else "",
        line=place.line if place else 0,
        function=plain(place.name) if place else "",
        kind=first.kind if first else "",
        confidence=first.confidence if first else "none",
        seconds=round(seconds, 2),
    )


def by_hand() -> list[Fault]:
    """The faults that have a place: those of the forward check with a class to blame."""
    return [f for f in FAULTS if f.check == "forward" and f.owner and f.file == MODEL]


def by_operator(seed: int) -> Iterator[Fault]:
    """The faults that the self-test's operators make of the model's source, in the order in which it chooses."""
    source = (ROOT / MODEL).read_bytes()
    sites = [m for m in of_source(MODEL, source) if not m.harmless and m.edit is not None]
    names: set[str] = set()
    for site in in_turn(sites, seed):
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
    name: str, faults: Iterator[Fault], budget: int | None, stacked: bool, servers: Servers, chosen: argparse.Namespace
) -> Iterator[Row]:
    """Rows of the first faults of a corpus that a case shows, at most `budget`, several at a time, in order."""
    found = 0
    with ThreadPoolExecutor(chosen.jobs) as pool:
        while (some := list(itertools.islice(faults, 2 * chosen.jobs))) and (budget is None or found < budget):
            measured = pool.map(lambda f: measure(name, f, stacked, chosen.device, servers), some)
            for fault, one in zip(some, measured, strict=True):
                if one is None:
                    print(f"{name} {fault.name}: no value differs", flush=True)
                elif budget is None or found < budget:
                    found += 1
                    yield one


def merged(files: list[Path]) -> None:
    """Prints the summaries of all rows in these files."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for name in ("plain", "stacked", CORPUS):
        rows = [
            Row(**{**r, **{k: tuple(r[k]) for k in ("rewrites", "lines", "functions")}})
            for f in found
            for r in f.get(name, {"rows": []})["rows"]
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
    parser.add_argument("--others", action="store_true", help="other findings than of outputs alone")
    parser.add_argument(
        "--checks", nargs="+", choices=CHECKS, default=[], help="of other findings those of these checks"
    )
    parser.add_argument("--corpus", choices=("hand", "operator"), help="of outputs this corpus alone")
    parser.add_argument("--budget", type=int, default=60, help="faults of the second corpus")
    parser.add_argument("--seed", type=int, default=0, help="which faults of the second corpus come first")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where outputs are computed")
    parser.add_argument("--part", default="1/1", help="of several machines or processes the share of one, such as 2/8")
    parser.add_argument("--merge", type=Path, nargs="+", help="JSON files of parts: print their summary, run nothing")
    parser.add_argument("--jobs", type=int, default=cpus(), help="how many at a time")
    parser.add_argument("--json", type=Path, help="write every row here")
    parser.add_argument("--no-cost", action="store_true", help="do not time the second pass")
    chosen = parser.parse_args()
    if chosen.merge:
        merged(chosen.merge)
        return
    result: dict[str, object] = {}
    with Servers(PRELOAD) as servers:
        for name, stacked in (("plain", False), ("stacked", True)):
            if not chosen.others and (chosen.plain == chosen.stacked or stacked == chosen.stacked):
                result[name] = told(name, list(outputs_of(name, stacked, chosen, servers)))
        if chosen.others or not (chosen.stacked or chosen.corpus):
            result[CORPUS] = told(CORPUS, list(others_of(chosen, servers)))
        if not chosen.no_cost:
            result["cost"] = cost(servers)
            print("seconds of a forward pass, of the second pass, and their ratio:", json.dumps(result["cost"]))
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def outputs_of(name: str, stacked: bool, chosen: argparse.Namespace, servers: Servers) -> Iterator[Row]:
    """Rows of both corpora of faults that an output shows, told as they come."""
    share = -(-chosen.budget // parts_of(chosen)[1])
    corpora = {"hand": ("by hand", by_hand(), None), "operator": ("operator", by_operator(chosen.seed), share)}
    for corpus in (chosen.corpus,) if chosen.corpus else corpora:
        title, faults, budget = corpora[corpus]
        for one in rows_of(title, shared(faults, chosen), budget, stacked, servers, chosen):
            print(f"{name:8}{one}", flush=True)
            yield one


def others_of(chosen: argparse.Namespace, servers: Servers) -> Iterator[Row]:
    """Rows of the faults that other findings show, told as they come."""
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for one in pool.map(lambda fault: other_findings(fault, servers), shared(others(chosen.checks), chosen)):
            print(f"{'other':8}{one}", flush=True)
            yield one


def others(checks: list[str]) -> list[Fault]:
    return [f for check in CHECKS if check in (checks or CHECKS) for f in FAULTS if f.check == check]


def parts_of(chosen: argparse.Namespace) -> tuple[int, int]:
    """Which part this is, from 1, and of how many."""
    part, parts = (int(n) for n in chosen.part.split("/"))
    return part, parts


def shared(faults: Iterable[Fault], chosen: argparse.Namespace) -> Iterator[Fault]:
    """This part's share of the faults that were asked for."""
    part, parts = parts_of(chosen)
    return itertools.islice((f for f in faults if not chosen.only or f.name in chosen.only), part - 1, None, parts)


def told(name: str, rows: list[Row]) -> dict[str, object]:
    """Rows with their summary, which is printed, of all and by corpus."""
    for corpus in sorted({r.corpus for r in rows}):
        print(corpus, json.dumps(summary([r for r in rows if r.corpus == corpus])))
    print(name, json.dumps(summary(rows), indent=2))
    return {"summary": summary(rows), "rows": [asdict(r) for r in rows]}


if __name__ == "__main__":
    main()
