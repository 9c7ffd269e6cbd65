"""Reports of the verifier as the Action reads them."""

from __future__ import annotations

from typing import Any


def finding(**changes: Any) -> dict[str, Any]:
    """One finding as the verifier writes it."""
    return {
        "check": "forward",
        "variant": "base",
        "case": "image",
        "subject": "last_hidden_state",
        "verdict": "different",
        "kind": "output-values",
        "details": {
            "bad": "1",
            "count": "2",
            "subject": "last_hidden_state",
            "where": "[0, 1]",
            "candidate": "3",
            "reference": "4",
        },
        "message": "1 of 2 outputs differ, worst last_hidden_state at [0, 1]: 3, the reference has 4",
        "message_zh": "2 个输出中有 1 个不同，最大差异为 last_hidden_state 的 [0, 1]：3，参考为 4",
        "measured": 0.42,
        "allowed": 1e-13,
        "reference": {"file": "factory/model.py", "line": 4, "name": "Attention"},
        "candidate": {"file": "llavavit/model.py", "line": 12, "name": "Attention"},
        **changes,
    }


def document(verdict: str = "different", **changes: Any) -> dict[str, Any]:
    """A whole report as the verifier writes it."""
    bad = verdict == "different"
    one = finding()
    return {
        "schema_version": 1,
        "tool_version": "0.1.0",
        "verdict": verdict,
        "seed": 0,
        "variants": ["base"],
        "sides": {"reference": "factory.model:Model", "candidate": "llavavit.model:Model"},
        "seconds": 12.5,
        "checks": [
            {
                "name": "forward",
                "verdict": verdict,
                "compared": 3,
                "seconds": 2.0,
                "reason": "",
                "groups": [
                    {
                        "check": "forward",
                        "variant": "base",
                        "name": "image",
                        "verdict": verdict,
                        "compared": 3,
                        "measured": 0.42 if bad else 1e-15,
                        "allowed": 1e-13,
                        "reason": "",
                        "seconds": 2.0,
                    }
                ],
            }
        ],
        "findings": [one] if bad else [],
        "first_divergence": {
            **{k: v for k, v in one.items() if k not in ("kind", "verdict")},
            "confidence": "module",
            "subject": "encoder.layers.0.attention",
            "details": {
                "candidate_path": "encoder.layers.0.attention",
                "candidate_class": "Attention",
                "reference_path": "blocks.0.attn",
                "reference_class": "Attn",
            },
            "message": "the first module whose inputs agree and whose output differs is encoder.layers.0.attention "
            "(Attention); the reference's is blocks.0.attn (Attn)",
            "message_zh": "首个输入一致而输出不同的模块是 encoder.layers.0.attention（Attention）；"
            "参考实现中为 blocks.0.attn（Attn）",
        }
        if bad
        else None,
        "skipped": [],
        "environment": {"reference": {"path": "."}, "candidate": {"path": "."}},
        "facts": {},
        **changes,
    }
