"""Which code the sides ran: a model that is compared with itself proves nothing, nor does one from another place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verify.checks.base import Job, Maker, location
from verify.pair import side_spec
from verify.report import Finding, Verdict
from verify.trace import BOTH, Ask, Role, Trace

CHECK = "run"
MADE_BY = ("model", "factory")


def ask(job: Job) -> Ask:
    """What to observe when the sides have run: it imports nothing."""
    return Ask(key=job.key("code"), op="code")


def files(job: Job, trace: Trace) -> dict[str, str]:
    """For the report: the file of each thing that the spec names of a side, as far as it was loaded."""
    return {key: target["place"]["file"] for key, target in _targets(job, trace).items() if target["place"]}


def findings(job: Job, traces: Mapping[Role, Trace]) -> Iterator[Finding]:
    """Code from outside a side's folder, and one model on both sides.

    A note where the spec may mean it: an installed model, or one path and target given for both sides.
    """
    make = Maker(job=job, check=CHECK, group="code")
    models: list[Mapping[str, Any]] = []
    for role in BOTH:
        for key, target in _targets(job, traces[role]).items():
            models += [target] if key in MADE_BY else []
            if target["outside"]:
                kind = "code-shadowed" if target["held"] else "code-outside"
                verdict = Verdict.ERROR if target["held"] else Verdict.NOTE
                details = {"side": role, "target": getattr(side_spec(job.spec, role), key), "file": target["real"]}
                yield make.finding(kind, f"{role}.{key}", verdict, details=details)
    made = {(traces[role].get(job.key("code")).result or {}).get("made", "") for role in BOTH}
    alike = len(models) == len(BOTH) and all(models[0][what] == models[1][what] for what in ("real", "name"))
    if alike and len(made) == 1:  # one factory can make two classes
        ours, theirs = (_asked(job, role) for role in BOTH)
        places: dict[str, Any] = {role: location(model["place"]) for role, model in zip(BOTH, models, strict=True)}
        details = {"file": models[0]["real"], "name": models[0]["name"]}
        verdict = Verdict.NOTE if ours == theirs else Verdict.ERROR
        yield make.finding("same-code", "model", verdict, details=details).model_copy(update=places)


def _asked(job: Job, role: Role) -> tuple[str, str]:
    """Where the spec says a side's model is."""
    side = side_spec(job.spec, role)
    return str((job.base / side.path).resolve()), str(side.model or side.factory)


def _targets(job: Job, trace: Trace) -> dict[str, Any]:
    return dict((trace.get(job.key("code")).result or {}).get("targets", {}))
