"""How many faults the gate catches, and how many what people use otherwise.

    python benchmarks/detection.py [--budget 100] [--seed 0] [--json FILE]

The corpus: the faults of `tests/mutations/seeded_faults.py`, and as many as --budget says that the self-test chooses by
--seed, source and live modules. Each is seeded into the candidate of this repository's pair (a tiny variant) and judged
by every check of the gate, and by the checks of `usual_checks.py`. Those are also run on the harmless rewrites of
`tests/mutations/harmless_rewrites.py`; that the gate passes them is a test.
Faults of the check `source` (a declared copy) are left out: they are no change of what the candidate does.
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "mutations")]

from harmless_rewrites import REWRITES  # noqa: E402
from mutant import Fault, Rewrite  # noqa: E402
from seeded_faults import FAULTS  # noqa: E402
from usual_checks import CHECKS, SIZES  # noqa: E402

from verify import spec  # noqa: E402
from verify.edits import Edit  # noqa: E402
from verify.selftest import shadow  # noqa: E402
from verify.selftest.mutant import Mutant, in_turn  # noqa: E402
from verify.selftest.result import Seeded  # noqa: E402
from verify.selftest.run import Options, Seeder, opened  # noqa: E402
from verify.side import cpus  # noqa: E402
from verify.spec import Spec  # noqa: E402

GATE = "llavavit-verify"
PYTEST_TORCH = ROOT / ".detection"
"""Where `make detection` puts pytest-torch, apart from all else."""


def of(rewrite: Rewrite) -> Mutant:
    """A seeded fault or rewrite as the self-test has it: the whole file is replaced."""
    source = (ROOT / rewrite.file).read_bytes()
    text = source.decode()
    for old, new in rewrite.edits:
        assert text.count(old) == 1
        text = text.replace(old, new)
    lines = source.count(b"\n")
    edit = Edit(start=0, end=len(source), new=text, line=1, last=lines)
    return Mutant(kind=rewrite.name, place=rewrite.file, file=rewrite.file, edit=edit)


class Usual:
    """The usual checks, in a process that has imported torch."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._count = 0
        path = f"{PYTEST_TORCH}:{ROOT / 'benchmarks'}"
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "usual_checks.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def judge(self, mutant: Mutant | None) -> dict[str, str]:
        """What each check says of the pair with one change; of the pair as it is, without."""
        self._count += 1
        folder = self._scratch / f"usual-{self._count}"
        changed: dict[str, bytes] = {}
        if mutant is not None and mutant.edit is not None:
            changed[mutant.file] = mutant.edit.apply((ROOT / mutant.file).read_bytes())
        folder.mkdir()
        for package in ("llavavit", "model_factory"):
            own = {f.removeprefix(f"{package}/"): t for f, t in changed.items() if f.startswith(f"{package}/")}
            shadow.make(ROOT / package, folder / package, own)
        about = {"folder": str(folder), "fault": None if mutant is None else mutant.fault}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(about) + "\n")
        self._process.stdin.flush()
        found: dict[str, str] = json.loads(self._process.stdout.readline())
        shutil.rmtree(folder)
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


class Several:
    """The usual checks in as many processes as there are processors."""

    def __init__(self, scratch: Path) -> None:
        self._made: list[Usual] = []
        self._free: queue.SimpleQueue[Usual] = queue.SimpleQueue()
        for number in range(cpus()):
            folder = scratch / str(number)
            folder.mkdir()
            self._made.append(Usual(folder))
            self._free.put(self._made[-1])

    def judge(self, mutants: Sequence[Mutant | None]) -> list[dict[str, str]]:
        """What each check says of each changed pair, in order."""

        def judged(mutant: Mutant | None) -> dict[str, str]:
            one = self._free.get()
            try:
                return one.judge(mutant)
            finally:
                self._free.put(one)

        with ThreadPoolExecutor(len(self._made)) as pool:
            return list(pool.map(judged, mutants))

    def close(self) -> None:
        for one in self._made:
            one.close()


@contextmanager
def usual() -> Iterator[Several]:
    with tempfile.TemporaryDirectory() as scratch:
        made = Several(Path(scratch))
        try:
            yield made
        finally:
            made.close()


def tiny() -> Spec:
    return spec.load(spec.PRESET).model_copy(update={"variants": {"tiny": SIZES}, "default_variant": "tiny"})


def corpus(seeder: Seeder, budget: int, seed: int) -> dict[str, list[tuple[Mutant, Seeded]]]:
    seeded = [of(fault) for fault in FAULTS if isinstance(fault, Fault) and fault.check != "source"]
    chosen = in_turn([s for s in seeder.sites() if not s.harmless], seed)
    return {"by hand": seeder.judged(seeded, len(seeded)), "self-test": seeder.judged(chosen, budget)}


def row(name: str, caught: dict[str, int], total: int) -> str:
    cells = " | ".join(f"{n} ({n / total:.0%})" for n in caught.values())
    return f"| {name} | {total} | {cells} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    started = time.perf_counter()
    found: dict[str, Any] = {"seed": asked.seed, "budget": asked.budget, "faults": []}
    options = Options(budget=asked.budget, seed=asked.seed)
    with opened(tiny(), ROOT, options, lambda text: print(text, file=sys.stderr, flush=True)) as seeder:
        groups = corpus(seeder, asked.budget, asked.seed)
    names = [GATE, *CHECKS]
    print("| corpus | faults | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 2))
    with usual() as checks:
        [as_it_is] = checks.judge([None])
        assert set(as_it_is.values()) == {"passes"}, f"the pair as it is: {as_it_is}"
        for group, results in groups.items():
            moved = []
            asked_of = [mutant for mutant, said in results if said.ran and said.status != "equivalent"]
            answers = dict(zip(map(id, asked_of), checks.judge(asked_of), strict=True))
            for mutant, said in results:
                others = answers.get(id(mutant), {})
                entry = {"corpus": group, **said.model_dump(), "usual": others}
                found["faults"].append(entry)
                caught = (
                    said.status in ("caught", "stopped") or "objects" in others.values() or "raises" in others.values()
                )
                if caught or said.status == "survived":
                    moved.append(entry)
            counts = {GATE: sum(e["status"] in ("caught", "stopped") for e in moved)}
            counts |= {name: sum(e["usual"][name] != "passes" for e in moved) for name in CHECKS}
            print(row(group, counts, len(moved)), flush=True)
        alarms = dict.fromkeys(CHECKS, 0)
        for answer in checks.judge([of(rewrite) for rewrite in REWRITES]):
            for name, said in answer.items():
                alarms[name] += said != "passes"
    print(row("harmless rewrites", {GATE: 0, **alarms}, len(REWRITES)) + " false alarms; the gate's are a test")
    for entry in found["faults"]:
        if entry["status"] not in ("caught", "stopped"):
            print(
                f"\n{entry['corpus']}: {entry['kind']} {entry['place']}: {entry['status']} {entry['moved'] or entry['finding']}"
            )
            print(entry["change"][:600])
            if any(v != "passes" for v in entry["usual"].values()):
                print(f"  but: {entry['usual']}")
    found["seconds"] = round(time.perf_counter() - started, 1)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(any(e["status"] == "survived" for e in found["faults"]))


if __name__ == "__main__":
    sys.exit(main())
