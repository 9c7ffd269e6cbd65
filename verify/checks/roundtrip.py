"""roundtrip: does a checkpoint that a side writes come back as the same model, to the bit?

The model has drawn weights, so that nothing is right by its initial value. It is saved, then loaded twice in a fresh
process with dirtied memory, by its class and, where the spec names the side's `remote_code`, by AutoModel with the code
beside the checkpoint. Every parameter and buffer must be equal to the bit, saved or not, and the load report empty.

A second checkpoint is of the same model in bfloat16, loaded in the dtype that it has: which tensors come back in another,
to keep them exact, must be the same on both sides.

A model comes out of loading as the reference does: in eval mode, with the same parameters that take gradients, and in the
dtype and with the attention that its caller asks for. Its configuration is the one that was saved. Where the reference
cannot be loaded, what transformers does with every model counts, and what was asked for.

Then every tensor is left out of a checkpoint once. What fills it must be of the distribution that the reference fills it
with, or that it starts from where it cannot load; the load report must name it, and what the checkpoint has must stay.

Any module, also one that knows no checkpoints, gives its state dict to another model of its class, which must load it whole.
Where only one side loses something so, or takes no other keys that the other takes, it is a difference. So it must in a
larger model, whose state dict has a name in front of each key.

A checkpoint is cut into files as its caller says; a key that the model does not have is told; and keys with the
reference's `base_model_prefix` in front of them, as a larger model writes them, are known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from verify.checks import buffers, initialisation, loading, structure
from verify.checks.base import Job, Maker, Outcome, fault_location, faults, show
from verify.compare import MISSING, differing
from verify.messages import WHOLE
from verify.report import Finding, Verdict
from verify.trace import BOTH, Answer, Ask, Role, Trace

SUMMARY = "state_dict and load_state_dict; save_pretrained, from_pretrained and AutoModel in a fresh process, every tensor to the bit"
RUNS_CASES = False

CHECK = "roundtrip"
SAVED, LACKING, NARROW, STATE = "save", "missing keys", "bfloat16", "state dict"
"""The groups of the two checkpoints against each other, of what fills the tensors that a checkpoint lacks, of one in
bfloat16, and of state dicts that are loaded in the same process."""
LOADED, ASKED = "after loading", "as asked for"
"""The groups of what loading makes of a model besides its tensors, and of a load that asks for a dtype and for attention."""
DTYPE, ATTENTION = "bfloat16", "eager"
"""What that load asks for; the observer's `roundtrip` has the same."""
AS_REFERENCE = "as in the reference"
AUTO = "AutoModel"
MOST_NAMED = 5
REFERENCE: tuple[Role, ...] = ("reference",)


def plan(job: Job) -> list[Ask]:
    values = job.values_of(CHECK)
    code = {role: list(getattr(job.spec, role).remote_code) for role in BOTH}
    remote: tuple[Role, ...] = tuple(role for role in BOTH if code[role])
    asks = [
        *structure.plan(job),
        Ask(key=job.key(CHECK, "state"), op="state", args={"values": values}),
        Ask(key=job.key(CHECK, "save"), op="save", args={"values": values, "code": code}),
        Ask(key=job.key(CHECK, "narrow"), op="load", args={"values": values, "auto": False, "narrow": True}),
        Ask(key=job.key(CHECK, "asked"), op="load", args={"values": values, "auto": False, "asked": True}),
        Ask(key=job.key(CHECK, "lacking"), op="lacking", args={"values": values, "seed": job.seed}),
        Ask(
            key=job.key(CHECK, "start"), op="initialisation", args={"values": values, "seed": job.seed}, sides=REFERENCE
        ),
        Ask(key=job.key(CHECK, "load"), op="load", args={"values": values, "auto": False}, fresh=True),
    ]
    if remote:
        args = {"values": values, "auto": True}
        asks.append(Ask(key=job.key(CHECK, "auto"), op="load", args=args, sides=remote, fresh=True))
    for role in BOTH:
        for python in getattr(job.spec, role).load_with:
            for kind in ("load", "auto") if code[role] else ("load",):
                args = {"values": values, "auto": kind == "auto", "elsewhere": True}
                key = job.key(CHECK, kind, role, python)
                asks.append(Ask(key=key, op="load", args=args, sides=(role,), fresh=True, python=python))
    return asks


def further(job: Job, reference: Trace, candidate: Trace) -> list[Ask]:
    return loading.prefixed(job, CHECK, reference, candidate)


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    traces: dict[Role, Trace] = {"reference": reference, "candidate": candidate}
    yield _state(job, reference, candidate)
    yield from _older(job, reference, candidate)
    saved = _saved(job, *(trace.get(job.key(CHECK, "save")) for trace in traces.values()))
    saved.findings += loading.shards(job, CHECK, SAVED, reference, candidate)
    yield saved
    for role, trace in traces.items():
        side = _Side(job, role, trace, candidate if role == "reference" else reference)
        yield side.outcome("load")
        if getattr(job.spec, role).remote_code:
            yield side.outcome("auto")
        else:
            reason = f"the spec names no `remote_code` of the {role}, so AutoModel has no code to load"
            yield Outcome(name=f"{role} auto", skipped=True, reason=reason)
        for python in getattr(job.spec, role).load_with:
            yield side.outcome("load", python)
            if getattr(job.spec, role).remote_code:
                yield side.outcome("auto", python)
    yield from loading.of_prefix(job, CHECK, reference, candidate)
    yield _loaded(job, reference, candidate)
    narrow = _narrow(job, reference, candidate)
    yield narrow
    yield _asked(job, reference, candidate, {f.subject for f in narrow.findings if f.kind == "kept-dtype"})
    yield from _lacking(job, reference, candidate)


def _narrow(job: Job, reference: Trace, candidate: Trace) -> Outcome:
    """A checkpoint in bfloat16: which dtypes come back, side against side; and, where a dtype is as saved, the same bits."""
    make = Maker(job=job, check=CHECK, group=NARROW)
    outcome = Outcome(name=NARROW)
    asked = [[t.get(job.key(CHECK, kind)) for t in (reference, candidate)] for kind in ("save", "narrow")]
    if absent := [answer for pair in asked for answer in pair if _absent(answer)]:
        outcome.skipped, outcome.reason = True, str(absent[0].fault)
        return outcome
    for role, save in zip(BOTH, asked[0], strict=True):
        if save.result is None:
            outcome.skipped, outcome.reason = True, f"the {role} saved nothing; see save"
            return outcome
    r, c = asked[1]
    if r.result is None or c.result is None:
        outcome.findings += faults(make, r, c)
        return outcome
    left, right = (answer.result["loads"][0]["dtypes"] for answer in (r, c) if answer.result)
    structures = [t.get(job.key("structure")).result or {} for t in (reference, candidate)]
    names = {name: name for name in left.keys() & right.keys()} | initialisation.aligned(make, *structures)
    for name, theirs in sorted(names.items()):
        if make.ignored(name) or name not in left or theirs not in right:
            continue
        outcome.compared += 1
        if left[name] != right[theirs]:
            details = {"reference": left[name], "candidate": right[theirs]}
            places: dict[str, Any] = {
                role: structure.owner(s, n) for role, s, n in zip(BOTH, structures, (name, theirs), strict=True)
            }
            outcome.findings.append(make.finding("kept-dtype", name, details=details).model_copy(update=places))
    for side in (_Side(job, "reference", reference, candidate), _Side(job, "candidate", candidate, reference)):
        outcome.findings += side.narrowed(make)
    return outcome


def _loaded(job: Job, reference: Trace, candidate: Trace) -> Outcome:
    """The mode that loading leaves modules in, and which parameters then take gradients."""
    outcome = Outcome(name=LOADED)
    saves, loads = ([t.get(job.key(CHECK, kind)) for t in (reference, candidate)] for kind in ("save", "load"))
    left, right = map(_first, loads)
    if right is None or saves[1].result is None:
        outcome.skipped, outcome.reason = True, _nothing_loaded("candidate", saves[1], loads[1])
        return outcome
    if left is None and not right["library"]:
        outcome.skipped, outcome.reason = True, _nothing_loaded("reference", saves[0], loads[0])
        return outcome
    structures = [t.get(job.key("structure")).result or {} for t in (reference, candidate)]
    make = Maker(job=job, check=CHECK, group=LOADED, candidate=structure.owner(structures[1], ""))
    paths = [{m["path"] for m in side.get("modules", [])} for side in structures]
    known = paths[0] & paths[1] if left else paths[1]
    outcome.compared += any(not make.ignored(path or WHOLE) for path in known)
    outcome.findings += _modes(make, left, right, known)
    names = {p["name"]: p["name"] for p in structures[1].get("parameters", [])}
    if left:
        names = initialisation.aligned(make, *structures)
    kept = sorted(n for n, theirs in names.items() if theirs in right["dtypes"] and not make.ignored(n))
    outcome.compared += len(kept)
    # transformers 5 lets go of what a constructor has frozen
    still = set(left["frozen"]) if left else {n for n in saves[1].result["frozen"] if n in right["frozen"]}
    for frozen in (True, False):
        apart = [n for n in kept if (n in still) != frozen and (names[n] in right["frozen"]) == frozen]
        if apart:
            why = AS_REFERENCE if left else "as it was saved"
            details = {"count": len(apart), "reference": frozen, "candidate": not frozen, "why": why}
            outcome.findings.append(make.finding("loaded-frozen", apart[0], details=details))
    return outcome


def _modes(
    make: Maker, left: Mapping[str, Any] | None, right: Mapping[str, Any], known: Collection[str]
) -> Iterator[Finding]:
    """Modules that one side's loading leaves in train mode; of those that lie in each other the outermost.

    left: the reference's load, None where it has none: then all are expected in eval mode. known: paths that are compared.
    """
    trained = [set(side["train"]) & set(known) if side else set() for side in (left, right)]
    why = AS_REFERENCE if left else "as transformers leaves it"
    for side, modes in ((1, ("eval", "train")), (0, ("train", "eval"))):
        apart = trained[side] - trained[1 - side]
        for path in sorted(apart):
            subject = path or WHOLE
            if not _within(path, apart) and not make.ignored(subject):
                # eval is what transformers leaves all in, and no fault of a candidate
                verdict = Verdict.DIFFERENT if side else Verdict.NOTE
                details = {"reference": modes[0], "candidate": modes[1], "why": why}
                yield make.finding("loaded-mode", subject, verdict, details=details)


def _within(path: str, others: Collection[str]) -> bool:
    """Whether a module lies in one of others."""
    parts = path.split(".") if path else []
    return any(".".join(parts[:n]) in others for n in range(len(parts)))


def _first(answer: Answer) -> Mapping[str, Any] | None:
    """What the first of a side's loads gave."""
    loads: list[dict[str, Any]] = (answer.result or {}).get("loads", [])
    return loads[0] if loads else None


def _nothing_loaded(role: Role, *answers: Answer) -> str:
    """Why there is nothing to compare of a side."""
    absent = next((answer for answer in answers if _absent(answer)), None)
    return str(absent.fault) if absent else f"the {role} loaded nothing; see load"


def _asked(job: Job, reference: Trace, candidate: Trace, told: Collection[str]) -> Outcome:
    """A load that asks for a dtype and for attention: does the model come back so?

    told: names whose dtype a checkpoint in bfloat16 showed to differ already.
    """
    outcome = Outcome(name=ASKED)
    saves, asked = ([t.get(job.key(CHECK, kind)) for t in (reference, candidate)] for kind in ("save", "asked"))
    structures = [t.get(job.key("structure")).result or {} for t in (reference, candidate)]
    make = Maker(job=job, check=CHECK, group=ASKED, candidate=structure.owner(structures[1], ""))
    if _absent(saves[1]) or saves[1].result is None or _absent(asked[1]):
        outcome.skipped, outcome.reason = True, _nothing_loaded("candidate", saves[1], asked[1])
        return outcome
    alone = saves[0].result is None or _absent(asked[0])
    if asked[0].fault and asked[1].fault and not alone:
        outcome.skipped, outcome.reason = True, f"neither side can be loaded so: {asked[1].fault}"
        return outcome
    right, left = _first(asked[1]), None if alone else _first(asked[0])
    if right is None or (left is None and not alone):
        outcome.findings += faults(make, Answer(key="", result={}) if alone else asked[0], asked[1])
        return outcome
    apart: dict[tuple[str, str], list[str]] = {}
    if left is not None:
        names = {n: n for n in left["dtypes"].keys() & right["dtypes"].keys()} | initialisation.aligned(
            make, *structures
        )
        for name, theirs in sorted(names.items()):
            if name in left["dtypes"] and theirs in right["dtypes"] and not make.ignored(name):
                outcome.compared += 1
                pair = left["dtypes"][name], right["dtypes"][theirs]
                if pair[0] != pair[1] and name not in told:
                    apart.setdefault(pair, []).append(name)
    else:  # some may be kept in another; all of them are not
        names = {p["name"]: p["name"] for p in structures[1].get("parameters", []) if not make.ignored(p["name"])}
        found = [right["dtypes"][name] for name in names if name in right["dtypes"]]
        outcome.compared += len(found)
        if found and DTYPE not in found:
            apart[DTYPE, ", ".join(sorted(set(found)))] = [name for name in names if name in right["dtypes"]]
    why = AS_REFERENCE if left else "as asked for"
    for (expected, came), which in apart.items():
        details = {"count": len(which), "reference": expected, "candidate": came, "asked": DTYPE, "why": why}
        outcome.findings.append(make.finding("asked-dtype", which[0], details=details))
    wanted = left["attention"] if left else ATTENTION
    if not make.ignored("attn_implementation"):
        outcome.compared += 1
        if right["attention"] != wanted:
            verdict = Verdict.NOTE if right["attention"] == ATTENTION else Verdict.DIFFERENT
            details = {"reference": wanted, "candidate": right["attention"], "asked": ATTENTION, "why": why}
            outcome.findings.append(make.finding("asked-attention", "attn_implementation", verdict, details=details))
    return outcome


def _state(job: Job, reference: Trace, candidate: Trace) -> Outcome:
    """What becomes of a state dict in another model of the class, in the reference's words."""
    make = Maker(job=job, check=CHECK, group=STATE)
    outcome = Outcome(name=STATE)
    r, c = (trace.get(job.key(CHECK, "state")) for trace in (reference, candidate))
    if r.result is None or c.result is None:
        outcome.findings += faults(make, r, c)
        return outcome
    structures = [trace.get(job.key("structure")).result or {} for trace in (reference, candidate)]
    words = {
        own: word
        for group in structure.GROUPS
        for own, word in buffers.in_reference_words(job, structures[0], structures[1], group).items()
    }
    outcome.compared = make.counted([*r.result["keys"], *(words.get(key, key) for key in c.result["keys"])])
    lost = [dict(r.result["lost"]), {words.get(key, key): what for key, what in c.result["lost"].items()}]
    for role, own, other in zip(BOTH, lost, lost[::-1], strict=True):
        for key, what in own.items():
            verdict = Verdict.NOTE if key in other else Verdict.DIFFERENT
            if not make.ignored(key):
                place = structure.owner(structures[BOTH.index(role)], key)
                found = make.finding("tensor-lost", key, verdict, details={"side": role, "what": what})
                outcome.findings.append(found.model_copy(update={role: place}))
    inside = [{k: v for k, v in r.result.get("nested", {}).items() if k not in lost[0]}]
    inside.append({words.get(k, k): v for k, v in c.result.get("nested", {}).items() if words.get(k, k) not in lost[1]})
    outcome.findings += loading.nested(make, (inside[0], inside[1]), structures)
    if not job.spec.mapping.parameters:  # else other keys are meant
        extra = [dict.fromkeys(side["extra"], "saved beside the tensors") for side in (r.result, c.result)]
        outcome.findings += make.differences(extra[0], extra[1])
        takes = [{key: f"taken as {place}" for key, place in side["takes"].items()} for side in (r.result, c.result)]
        for finding in make.differences(takes[0], takes[1]):
            more = finding.kind == "missing-in-reference"  # what loads there loads here too
            outcome.findings.append(finding.model_copy(update={"verdict": Verdict.NOTE}) if more else finding)
    return outcome


def _older(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    """Tells of keys that the reference's loading asks for and of which nothing was found out."""
    r, c = ((trace.get(job.key(CHECK, "state")).result or {}) for trace in (reference, candidate))
    seen = {*c.get("takes", {}), *c.get("unknown", ())}
    if unseen := [key for key in r.get("unknown", ()) if key not in seen]:
        reason = f"what the reference's loading asks for besides, as older names, stands for no key alone: {', '.join(unseen[:MOST_NAMED])}"
        yield Outcome(name="older keys", skipped=True, reason=reason)


def _lacking(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    """What fills the tensors that a checkpoint lacks."""
    make = Maker(job=job, check=CHECK, group=LACKING)
    outcome = Outcome(name=make.group, reason=initialisation.ALLOWED)
    saves = [trace.get(job.key(CHECK, "save")) for trace in (reference, candidate)]
    r, c = (trace.get(job.key(CHECK, "lacking")) for trace in (reference, candidate))
    absent = next((answer for answer in (saves[1], c) if _absent(answer)), None)
    loads = not any(map(_absent, (saves[0], r)))
    start = r if loads else reference.get(job.key(CHECK, "start"))
    if absent is not None:
        outcome.skipped, outcome.reason = True, str(absent.fault)
    elif any(save.result is None and not _absent(save) for save in saves):
        role = next(role for role, save in zip(BOTH, saves, strict=True) if save.result is None and not _absent(save))
        outcome.skipped, outcome.reason = True, f"the {role} saved nothing; see save"
    elif start.result is None or c.result is None:
        outcome.findings += faults(make, start, c)
    else:
        if loads:
            outcome.findings += _reported(make, r.result or {}, c.result)
            outcome.findings += loading.reported(make, r.result or {}, c.result)
        yield from initialisation.judged(make, outcome, start, c)
        return
    yield outcome


def _reported(make: Maker, left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Finding]:
    """What two sides say of checkpoints that lack something, and whether the rest stays, as far as they part in that."""
    common = initialisation.aligned(make, left, right)
    for name, theirs in common.items():
        if make.ignored(name):
            continue
        places = {"reference": structure.owner(left, name), "candidate": structure.owner(right, theirs)}
        told = [key in side["told"] for key, side in ((name, left), (theirs, right))]
        if told[0] != told[1]:
            words = ["missing" if one else "not missing" for one in told]
            details = {"what": "a key that the checkpoint lacks", "reference": words[0], "candidate": words[1]}
            yield make.finding("does", name, details=details).model_copy(update=places)
        if (name in left["changed"]) != (theirs in right["changed"]) and not make.job.spec.mapping.parameters:
            details = {"side": BOTH[theirs in right["changed"]], "what": "is drawn anew where another key is missing"}
            yield make.finding("tensor-lost", name, details=details).model_copy(update=places)


def _saved(job: Job, r: Answer, c: Answer) -> Outcome:
    """The two checkpoints against each other: the same keys, and the same values under them."""
    make = Maker(job=job, check=CHECK, group=SAVED)
    outcome = Outcome(name=SAVED)
    if any(_absent(answer) for answer in (r, c)):
        outcome.skipped, outcome.reason = True, " / ".join(str(a.fault) for a in (r, c) if _absent(a))
    elif r.result is None or c.result is None:
        outcome.findings += faults(make, r, c)
    elif job.spec.mapping.parameters:
        outcome.skipped, outcome.reason = True, "the spec maps names, so the two checkpoints are different ones"
    elif not r.result["saved"] and not c.result["saved"]:
        outcome.skipped, outcome.reason = True, "neither side writes safetensors"
    else:
        left, right = r.result["saved"], c.result["saved"]
        outcome.compared = make.counted([*left, *right])
        words = ({key: _words(key, own, other) for key in own} for own, other in ((left, right), (right, left)))
        outcome.findings += make.differences(next(words), next(words))
    return outcome


def _words(key: str, own: Mapping[str, str], other: Mapping[str, str]) -> str:
    """What a finding says of a saved tensor: its digest tells a reader nothing where the other side has none."""
    return f"values with the digest {own[key]}" if key in other else "saved"


def _absent(answer: Answer) -> bool:
    """Whether a side has nothing that could be saved and loaded."""
    return answer.fault is not None and answer.fault.kind == "setup"


def _no_auto_map(save: Answer) -> bool:
    """Whether a config.json was saved that names nothing for AutoModel."""
    told = (save.result or {}).get("auto_map")
    return told is not None and AUTO not in told


class _Side:
    """One side's checkpoint against what is loaded from it. other: the other side's trace."""

    def __init__(self, job: Job, role: Role, trace: Trace, other: Trace) -> None:
        self.job, self.role, self.trace, self.other = job, role, trace, other
        self.save = trace.get(job.key(CHECK, "save"))

    def outcome(self, kind: str, python: str = "") -> Outcome:
        """python: another interpreter that loads it than the side's own."""
        name = f"{self.role} {kind}, {python}" if python else f"{self.role} {kind}"
        make = Maker(job=self.job, check=CHECK, group=name)
        outcome = Outcome(name=make.group)
        key = self.job.key(CHECK, kind, self.role, python) if python else self.job.key(CHECK, kind)
        answer, auto = self.trace.get(key), kind == "auto"
        absent = next((a for a in (self.save, answer) if _absent(a)), None)
        if absent is not None:
            outcome.skipped, outcome.reason = True, str(absent.fault)
        elif self.save.result is None:
            outcome.skipped, outcome.reason = True, f"the {self.role} saved nothing; see save"
        elif auto and _no_auto_map(self.save):
            outcome.findings.append(self._no_auto_map(make))
        elif answer.result is None:
            outcome.findings += self._failed(make, kind, answer)
        else:
            self._compare(make, outcome, answer.result, auto=auto)
            if not python:  # another generation of transformers has other defaults
                self._configured(make, outcome, kind)
        return outcome

    def _failed(self, make: Maker, kind: str, answer: Answer) -> Iterator[Finding]:
        """That a checkpoint cannot be loaded: each side loads its own."""
        other = self.other.get(self.job.key(CHECK, kind))
        if other.fault is None or answer.fault is None or answer.fault.kind != "raised":
            well = Answer(key="", result={})
            yield from faults(make, *((answer, well) if self.role == "reference" else (well, answer)))
        else:
            place: dict[str, Any] = {self.role: fault_location(answer.fault)}
            details = {"side": self.role, "fault": answer.fault}
            yield make.finding("not-loaded", make.group, details=details, measured="raised").model_copy(update=place)

    def _no_auto_map(self, make: Maker) -> Finding:
        alike = _no_auto_map(self.other.get(self.job.key(CHECK, "save")))
        return self._found(make, "no-auto-map-alike" if alike else "no-auto-map", "auto_map")

    def narrowed(self, make: Maker) -> Iterator[Finding]:
        """What comes back from a checkpoint in bfloat16 in the dtype that was saved, and with other values."""
        saved = (self.save.result or {}).get("narrow", {})
        loads = (self.trace.get(self.job.key(CHECK, "narrow")).result or {}).get("loads", [])
        for name, (dtype, before) in sorted(saved.items()):
            kept = [load["tensors"].get(name) for load in loads if load["dtypes"].get(name) == dtype]
            if any(digest != before for digest in kept) and not make.ignored(name):
                yield self._lost(make, name, before, kept)

    def _compare(self, make: Maker, outcome: Outcome, answer: Mapping[str, Any], *, auto: bool) -> None:
        saved, loads, made = self.save.result or {}, answer["loads"], answer.get("made", {})
        for name, before in sorted(saved["tensors"].items()):
            if make.ignored(name):
                continue
            outcome.compared += 1
            after = [load["tensors"].get(name) for load in loads]
            right = {before} if name in saved["saved"] else {before, made.get(name, before)}
            if any(digest not in right for digest in after):
                outcome.findings.append(self._lost(make, name, before, after))
        for load in loads[:1]:
            told = [
                (name, "tensor-lost", "is there only after loading")
                for name in load["tensors"].keys() - saved["tensors"].keys()
            ]
            told += [(name, "load-report", key) for key, names in load["report"].items() for name in names]
            for name, kind_of, what in sorted(told, key=lambda one: one[::-1]):
                if not make.ignored(name):
                    outcome.findings.append(self._found(make, kind_of, name, what=what))
            if make.ignored("class"):
                continue
            outcome.compared += 1
            if load["class"] != saved["class"] or (auto and not load["remote"]):
                came = load["class"] + (
                    "" if load["remote"] == auto else " of the library, not of the checkpoint's code"
                )
                details = {"what": "the class", "reference": saved["class"], "candidate": came}
                outcome.findings.append(make.finding("value", "class", details=details))

    def _configured(self, make: Maker, outcome: Outcome, kind: str) -> None:
        """A configuration that loading changes; a note where the other side's changes there too."""
        changed = self._changed(self.trace, kind, self.role)
        if changed is None:
            return
        saved = (self.trace.get(self.job.key(CHECK, "save")).result or {}).get("config") or {}
        outcome.compared += any(not make.ignored(f"config.{key}") for key in saved)
        other: Role = BOTH[self.role == "reference"]
        theirs = self._changed(self.other, "load", other) or {}
        for key, (before, after) in changed.items():
            subject = f"config.{key}"
            if not make.ignored(subject):
                verdict = Verdict.NOTE if key in theirs else Verdict.DIFFERENT
                details = {"side": self.role, "before": before, "after": show(after)}
                outcome.findings.append(make.finding("config-lost", subject, verdict, details=details))

    def _changed(self, trace: Trace, kind: str, role: Role) -> dict[str, tuple[Any, Any]] | None:
        """By key, in the reference's words, what was saved and is otherwise after loading, and what it is then; None where
        there is no such configuration. What saving or loading adds is no loss."""
        saved = (trace.get(self.job.key(CHECK, "save")).result or {}).get("config")
        after = (_first(trace.get(self.job.key(CHECK, kind))) or {}).get("config")
        if saved is None or after is None:
            return None
        words = {own: word for word, own in self.job.spec.mapping.config.items()} if role == "candidate" else {}
        found = {}
        for key, before, value in differing(saved, after):
            if before is not MISSING:
                first, dot, rest = key.partition(".")
                found[f"{words.get(first, first)}{dot}{rest}"] = (before, value)
        return found

    def _lost(self, make: Maker, name: str, before: str, after: list[str | None]) -> Finding:
        if any(digest is None for digest in after):
            what = "is not there after loading"
        elif "unset" in after:
            what = "is left without memory (on the meta device)"
        elif after[0] != after[-1]:
            what = "holds other values after each loading: it is left unset or drawn anew"
        else:
            what = "holds other values, or values of another type, than were saved"
        return self._found(make, "tensor-lost", name, what=what)

    def _found(self, make: Maker, kind: str, name: str, **details: str) -> Finding:
        place = structure.owner(self.trace.get(self.job.key("structure")).result or {}, name)
        finding = make.finding(kind, name, details={"side": self.role, **details})
        return finding.model_copy(update={self.role: place})
