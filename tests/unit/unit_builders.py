"""Small values for unit tests: specs, jobs, traces, reports. No model, no process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from verify.checks import available
from verify.checks.base import Job, Scene
from verify.report import CheckResult, Divergence, Finding, Group, Location, Report, Skipped, Verdict, worst
from verify.spec import Spec
from verify.trace import Answer, Fault, Role, Trace

ROOT = Path(__file__).resolve().parents[2]

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/a.png)",
    "https://evil.example www.evil.example",
    "@octocat @org/team #1 GH-1",
    "**bold** _em_ ~~gone~~ `code`",
    "a | b | c",
    "line\n# heading\n- item\n\n```\nfence",
    "- list",
    "1. list",
    "=====",
    "> quote",
    "&lt;b&gt; &#64;x",
    "\\*not escaped\\",
    "[red]rich[/red] [/] [link=x]y[/link]",
    ":smile: a.py:100:",
    "\x1b[31mred\x1b[0m\x07\x00",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "\ud800 lone \udfff",
    "\ufffe\uffff\U0010ffff",
    "::error file=x::boom\n##[error]boom",
    "]]> <!-- -->",
    "{subject} {0} %s",
    "$\\alpha$",
    "中文 \N{GRINNING FACE}",
    "x" * 9000,
]


def spec_of(**changes: Any) -> Spec:
    """A valid spec; keywords replace its keys."""
    side = {"model": "package.module:Model"}
    plain = {
        "version": 1,
        "reference": side,
        "candidate": side,
        "cases": {"image": {"inputs": {"x": {"shape": [2, 3]}}}},
    }
    return Spec.model_validate({**plain, **changes})


def job_of(**changes: Any) -> Job:
    """A job of variant `v`, with every case's inputs in a file that need not exist."""
    spec = spec_of(**{"variants": {"v": {}}, **changes})
    scenes = {
        (check, name): Scene(case=case, values={}, inputs=Path(f"{name}.safetensors"))
        for check, module in available().items()
        for name, case in spec.cases.items()
        if module.RUNS_CASES
    }
    return Job(spec=spec, base=Path(), variant="v", seed=0, scenes=scenes)


def trace_of(role: Role, answers: Mapping[str, Any]) -> Trace:
    """A trace from plain results or Faults by key; arrays under "arrays"."""
    trace = Trace(role=role)
    for key, value in answers.items():
        if isinstance(value, Fault):
            trace.add(Answer(key=key, fault=value))
        else:
            result = {k: v for k, v in value.items() if k != "arrays"}
            trace.add(Answer(key=key, result=result, arrays=value.get("arrays", {})))
    return trace


def arrays_of(**arrays: Any) -> dict[str, Any]:
    """Arrays by name; two underscores stand for a dot."""
    return {k.replace("__", "."): np.asarray(v) for k, v in arrays.items()}


def finding_of(verdict: Verdict = Verdict.DIFFERENT, **changes: Any) -> Finding:
    plain: dict[str, Any] = {
        "check": "forward",
        "variant": "base",
        "case": "image",
        "subject": "last_hidden_state",
        "verdict": verdict,
        "kind": "value",
        "details": {"what": "x", "reference": "1", "candidate": "2"},
        "message": "x is 2; the reference has 1",
        "measured": 0.5,
        "allowed": 1e-13,
        "reference": Location(file="factory/model.py", line=7, name="Block"),
        "candidate": Location(file="hub/model.py", line=9, name="Layer"),
    }
    return Finding(**{**plain, **changes})


def group_of(verdict: Verdict, name: str = "image", **changes: Any) -> Group:
    plain = {
        "check": "forward",
        "variant": "base",
        "name": name,
        "verdict": verdict,
        "compared": 3,
        "seconds": 0.1234567,
    }
    return Group(**{**plain, **changes})


def report_of(findings: list[Finding], groups: list[Group], **changes: Any) -> Report:
    """A report whose checks are made from its groups."""
    checks = [
        CheckResult(
            name=name,
            verdict=worst(g.verdict for g in groups if g.check == name),
            compared=sum(g.compared for g in groups if g.check == name),
            seconds=0.5,
            groups=[g for g in groups if g.check == name],
        )
        for name in dict.fromkeys(g.check for g in groups)
    ]
    plain: dict[str, Any] = {
        "tool_version": "0",
        "verdict": worst(c.verdict for c in checks),
        "seed": 0,
        "variants": ["base"],
        "sides": {"reference": "a.b:C", "candidate": "d.e:F"},
        "seconds": 1.5,
        "checks": checks,
        "findings": findings,
        "first_divergence": None,
        "skipped": [],
        "environment": {"reference": {"packages": {"torch": "2.13.0"}}, "candidate": {"fault": "gone"}},
        "facts": {"base": {"values": {"hidden_size": 8}, "parameters": 12, "entries": 2, "names": ["w [2]"]}},
    }
    return Report(**{**plain, **changes})


def full_report(text: str = "plain") -> Report:
    """Every verdict at once, with `text` wherever untrusted text may stand."""
    name = text or "empty"
    place = Location(file=f"{text}.py", line=3, name=text)
    groups = [
        group_of(Verdict.EQUAL, "a", measured=1e-15, allowed=1e-13),
        group_of(Verdict.DIFFERENT, name, measured=0.5, allowed=1e-13),
        group_of(Verdict.ERROR, "c", reason=text),
        group_of(Verdict.SKIPPED, "d", reason=text),
        group_of(Verdict.EQUAL, "e"),
        group_of(Verdict.EQUAL, "t", check="structure", variant="base"),
    ]
    details = {"what": text, "reference": text, "candidate": text}
    divergence = Divergence(
        check="forward",
        variant="base",
        case=text,
        subject=text,
        confidence="module",
        message=text,
        details=dict.fromkeys(("candidate_path", "candidate_class", "reference_path", "reference_class"), text),
        measured=0.5,
        allowed=1e-13,
        reference=place,
        candidate=place,
    )
    return report_of(
        [
            finding_of(case=name, subject=text, details=details, message=text, reference=place, candidate=place),
            finding_of(case="e", verdict=Verdict.NOTE, subject=text, details=details, message=text, measured=text),
        ],
        groups,
        first_divergence=divergence,
        skipped=[Skipped(check="forward", variant=text, case=text, reason=text)],
        variants=["base", text],
        sides={"reference": text, "candidate": text},
        environment={"reference": {"packages": {"torch": text}}, "candidate": {"fault": text}},
        facts={
            "base": {"values": {"hidden_size": text}, "parameters": 12, "entries": 2, "names": [text]},
            text: {"values": {}, "parameters": 12, "entries": 2, "names": [text]},
        },
    )
