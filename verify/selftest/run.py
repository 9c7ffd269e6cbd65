"""A self-test: what can be seeded, what is, and what the gate says of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from verify import __version__, pair
from verify.cases import batch
from verify.checks import available
from verify.edits import same_program
from verify.run import chosen
from verify.selftest import modules
from verify.selftest.fingerprint import fingerprint
from verify.selftest.gate import Gate, Judged, gate_of
from verify.selftest.mutant import SOURCE_KINDS, Mutant, compiles, in_turn, of_source
from verify.selftest.result import Result, Seeded, by_kind
from verify.side import Server, Servers, SideError, cpus
from verify.spec import Spec
from verify.trace import Ask

Progress = Callable[[str], None]
LIVE_KINDS = (
    *modules.ANYWHERE, *modules.IN_BATCH, *modules.SAME_SHAPE, *modules.OF_PARAMETER, *modules.OF_BUFFER,
    "output-positions-rolled", "always-evaluating", "always-training", "parameter-frozen-live", "parameter-rolled",
    "parameter-transposed", "parameter-untied", "parameters-tied", "setting-changed", "setting-hidden",
    "layer-shared", "modules-swapped",
)  # fmt: skip
KINDS = (*sorted(SOURCE_KINDS), *sorted(LIVE_KINDS))
"""Every kind of fault."""

REWRITES_PER_FAULT = 0.2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line chooses. budget: faults on which the gate is run; kinds: of which kinds, empty: all."""

    variant: str | None = None
    depth: int | None = None
    checks: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    budget: int = 100
    seed: int = 0
    jobs: int | None = None
    timeout: float = 120.0
    device: str = "cpu"


def selftest(spec: Spec, base: Path, options: Options, progress: Progress = lambda text: None) -> Result:
    """Seeds faults and harmless rewrites into the candidate and runs the gate on each.

    Raises SpecError for names that the spec or this module does not have, NotEqual where the pair differs as it is.
    """
    started, spent = time.perf_counter(), _cpu_seconds()
    kinds = chosen(options.kinds, KINDS, "kind of fault")
    with opened(spec, base, options, progress) as seeder:
        sites = seeder.sites()
        faults = [s for s in sites if not s.harmless and s.kind in kinds]
        harmless = [s for s in sites if s.harmless]
        picked = seeder.picked(in_turn(faults, options.seed), options.budget)
        rewrites = seeder.picked(in_turn(harmless, options.seed), int(options.budget * REWRITES_PER_FAULT))
        said = [one for _, one in seeder.seeded([*picked, *rewrites])]
        found, quiet = said[: len(picked)], said[len(picked) :]
        gate = seeder.gate
        code = fingerprint(spec, base)
    return Result(
        tool_version=__version__,
        seed=options.seed,
        budget=options.budget,
        variant=gate.job.variant,
        depth=options.depth,
        checks=gate.checks,
        finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        packages={s.settings.role: pair.environment(s).get("packages", {}) for s in gate.sides},
        code=code,
        seconds=round(time.perf_counter() - started, 2),
        cpu_seconds=round(_cpu_seconds() - spent, 2),
        sites=len(faults),
        kinds=by_kind(found),
        faults=found,
        rewrites=quiet,
    )


@contextmanager
def opened(spec: Spec, base: Path, options: Options, progress: Progress = lambda text: None) -> Iterator[Seeder]:
    """The gate on this pair, observed as it is, ready for changed candidates. Raises as `selftest` does."""
    variant = chosen([options.variant] if options.variant else [spec.first_variant], spec.variants, "variant")[0]
    names = available()
    checks = chosen(options.checks, [n for n in names if not spec.checks or n in spec.checks], "check")
    cases = {name: spec.cases[name] for name in chosen(options.cases, spec.cases, "case")}
    with ExitStack() as stack:
        jobs = options.jobs or cpus()
        sides, scratch = stack.enter_context(
            pair.started(
                spec,
                base,
                None,
                seed=options.seed,
                device=options.device,
                timeout=options.timeout,
                processors=max(2 * cpus() // jobs, 1),  # a candidate gets half of them
            )
        )
        gate = gate_of(spec, base, sides, scratch, variant, checks, options.seed)
        progress("the pair as it is")
        gate.prepare(cases, options.depth, lambda role, what: progress(f"{role} {what}"))
        server = _warmed(stack.enter_context(Servers(gate.imports)), gate, stack)
        yield Seeder(gate, server, jobs, progress)


def _cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _warmed(servers: Servers, gate: Gate, stack: ExitStack) -> Server:
    """A server that has imported what the candidate needs, so that no changed one imports it again."""
    python = gate.sides[1].settings.python
    server = servers.get(python, ())
    try:
        server.wait_ready()
    except SideError:  # a module that cannot be imported by itself
        server = stack.enter_context(Servers()).get(python, ("torch", "safetensors.torch"))
        server.wait_ready()
    return server


Picked = tuple[Mutant, Judged | None]
"""A change, and what can be said of it without a run."""


class Seeder:
    """Runs the gate on changed candidates, several at once."""

    def __init__(self, gate: Gate, server: Server, jobs: int, progress: Progress) -> None:
        self.gate, self.server, self.jobs, self.progress = gate, server, jobs, progress
        self._root = Path(gate.sides[1].settings.path)
        self._sources: dict[str, bytes] = {}

    def sites(self) -> list[Mutant]:
        """Everything that can be seeded into this candidate."""
        files = [file for file in sorted(self.gate.lines) if (self._root / file).is_file()]
        found = [site for file in files for site in of_source(file, (self._root / file).read_bytes())]
        job = self.gate.job
        models: dict[str, Ask] = {}
        for (check, case), scene in sorted(
            job.scenes.items(), key=lambda place: batch(place[1].case, place[1].values) or 1
        ):
            if check == "forward":  # of each model the case with the most rows
                models[str(sorted(scene.values.items()))] = job.ask("modules", check, case, "calls")
        calls = modules.called([self.gate.look(ask) for ask in models.values()])
        whole = {"values": dict(job.values)}
        about = [self.gate.look(Ask(key=f"selftest/{op}", op=op, args=whole)) for op in ("structure", "settings")]
        for side in self.gate.sides:
            side.end()
        return [*found, *modules.sites(calls, *about)]

    def judged(self, sites: Iterable[Mutant], budget: int) -> list[tuple[Mutant, Seeded]]:
        """Takes sites until the gate was run on `budget` of them. What needs no run is told with its reason."""
        return self.seeded(self.picked(sites, budget))

    def picked(self, sites: Iterable[Mutant], budget: int) -> list[Picked]:
        """The first sites of which `budget` need the gate, with what can be said of the others without it."""
        picked: list[Picked] = []
        left = budget
        for site in sites:
            if left <= 0:
                break
            if site.edit is not None and not compiles(site.edit.apply(self._source(site))):
                continue
            judged = self._without_a_run(site)
            left -= judged is None
            picked.append((site, judged))
        return picked

    def seeded(self, picked: list[Picked]) -> list[tuple[Mutant, Seeded]]:
        """What is said of each."""
        done, runs = [0], sum(judged is None for _, judged in picked)

        def seeded(pair: Picked) -> Seeded:
            site, judged = pair
            started = time.perf_counter()
            if judged is None:
                judged = self.gate.judge(site, self.server)
                done[0] += 1
                self.progress(f"{done[0]} of {runs} {site.kind}: {judged.status}")
            seconds = round(time.perf_counter() - started, 3)
            return Seeded(
                kind=site.kind,
                place=site.place,
                harmless=site.harmless,
                change=site.text(self._source(site)),
                seconds=seconds,
                **vars(judged),
            )

        pool = ThreadPoolExecutor(self.jobs)
        try:
            return [(site, said) for (site, _), said in zip(picked, pool.map(seeded, picked), strict=True)]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            self.server.close()  # ends what still runs, so that no thread waits for it
            raise
        finally:
            pool.shutdown(wait=True)

    def _without_a_run(self, site: Mutant) -> Judged | None:
        """What can be said of a change of source without running it."""
        if site.edit is None:
            return None
        source = self._source(site)
        if not site.harmless and same_program(source, site.edit.apply(source)):
            return Judged(status="equivalent", moved="the same instructions", ran=False)
        if not self.gate.reached(site):
            return Judged(status="unreached", moved="no case runs these lines", ran=False)
        return None

    def _source(self, site: Mutant) -> bytes:
        if site.file and site.file not in self._sources:
            self._sources[site.file] = (self._root / site.file).read_bytes()
        return self._sources.get(site.file, b"")
