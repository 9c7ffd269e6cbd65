"""The main job on the real pair."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from verify.checks import available

ROOT = Path(__file__).resolve().parents[2]
MODEL = "llavavit/modeling_llava_vit.py"


def test_the_pair_is_equal(pair, gate):
    report = gate(pair)
    assert report.verdict == "equal", report.findings
    asked = [name for name in available() if name != "preprocessing"]  # this pair has no processors
    assert [c.name for c in report.checks] == asked
    assert all(c.compared > 0 for c in report.checks)
    # the reference writes activations as functions, and keeps other things in its modules
    skipped = [("settings", "one side"), ("settings", "alone"), ("roundtrip", "reference auto")]
    assert [(s.check, s.case) for s in report.skipped] == skipped
    (forward,) = (c for c in report.checks if c.name == "forward")
    assert len(forward.groups) == 28
    assert all(g.allowed is not None and g.measured <= g.allowed < 1e-10 for g in forward.groups)


def test_an_edited_line_is_found_and_its_module_named(pair, gate):
    file = pair / MODEL
    text = file.read_text()
    assert "eps=config.layer_norm_eps" in text
    file.write_text(text.replace("eps=config.layer_norm_eps", "eps=config.layer_norm_eps * 1.01"))
    report = gate(pair, cases=("image",))
    assert report.verdict == "different"
    assert report.exit_code == 1
    assert report.first_divergence is not None
    assert report.first_divergence.candidate.file == MODEL
    assert report.first_divergence.reference.file == "model_factory/vit_preview_v0_hf.py"


def test_the_guides_command():
    done = subprocess.run(
        [sys.executable, str(ROOT / "verify_architecture_alignment.py"), "--variant", "small", "--depth", "1"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("配置对齐 / Configuration alignment", "12,716,928", "they are the same model"):
        assert line in done.stdout.replace("\n", " ")
