"""Another pair than the preset's: each fault is found by the checks that should and by no other, and no rewrite is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from verify import spec
from verify.report import Report, Verdict
from verify.run import Options, run
from verify.side import Servers

SOURCE = Path(__file__).with_name("small_vit.py").read_text(encoding="utf-8")

PRELOAD = ("torch", "safetensors.torch", "transformers.modeling_utils")

TRAINED = {"cases": ["native", "masked"]}
SIDE = {"config": "net:Config", "model": "net:Model"}


def _case(batch: int, height: int, width: int, **more: object) -> dict[str, object]:
    pixels = {"shape": [batch, 3, height, width]}
    kind = {"shape": [batch], "draw": "integers", "below": "kinds"}
    return {"inputs": {"pixel_values": pixels, "kind": kind, **more}}


SPEC = {
    "version": 1,
    "reference": {"path": "left", **SIDE},
    "candidate": {"path": "right", **SIDE},
    "variants": {"tiny": {"kinds": 5}},
    "cases": {
        "native": _case(3, 16, 16),
        "larger": _case(2, 24, 36),
        "smaller": _case(1, 8, 12),
        "masked": _case(3, 16, 16, mask={"shape": [3, 17], "dtype": "bool", "offset": 0.8}),
    },
    "checks": {"structure": {}, "initialisation": {}, "forward": {}, "gradients": TRAINED, "training": TRAINED},
}


@pytest.fixture(scope="module")
def warmed() -> Iterator[Servers]:
    with Servers(PRELOAD) as servers:
        yield servers


@pytest.fixture
def against(tmp_path: Path, warmed: Servers, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """The report on the model and the same with (old, new) texts replaced."""
    monkeypatch.setattr("verify.run.MOST_EXPLAINED", 0)  # what is asked here is who finds it

    def run_it(*edits: tuple[str, str]) -> Report:
        text = SOURCE
        for old, new in edits:
            assert text.count(old) == 1, f"{text.count(old)} places read {old!r}"
            text = text.replace(old, new)
        for side, written in (("left", SOURCE), ("right", text)):
            (tmp_path / side).mkdir()
            (tmp_path / side / "net.py").write_text(written, encoding="utf-8")
        file = tmp_path / "spec.yml"
        file.write_text(yaml.safe_dump(SPEC))
        return run(spec.load(file), tmp_path, Options(timeout=60.0), servers=warmed)

    return run_it


RESIZE = 'F.interpolate(grid, size=(h, w), mode="bicubic", align_corners=False, antialias=False)'
FILL = "scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)"
MASK = "x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)"
UNIFORM = "torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype, device=x.device)"
SECOND = "x + drop_path(self.scale2 * self.mlp(self.norm2(x)), self.rate, self.training)"
ATTEND = f"""\
        scores = q @ k.mT * q.shape[-1] ** -0.5
        if mask is not None:
            scores = {FILL}
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
"""

FORWARD = {"forward", "gradients", "training"}
RESIZED = {"forward"}  # the cases that the others run have the table's own size
TRAIN = {"gradients", "training"}

FAULTS = {
    # The old way of asking for a size, which moves the grid by a fraction of a step.
    "resize-plus-0.1": (
        "larger smaller",
        RESIZED,
        (RESIZE, RESIZE.replace("size=(h, w)", "scale_factor=((h + 0.1) / side, (w + 0.1) / side)")),
    ),
    "resize-bilinear": ("larger smaller", RESIZED, ('mode="bicubic"', 'mode="bilinear"')),
    "resize-antialias": ("smaller", RESIZED, ("antialias=False", "antialias=True")),
    "resize-align-corners": ("larger smaller", RESIZED, ("align_corners=False", "align_corners=True")),
    "swiglu-halves-swapped": ("native", FORWARD, ("gate, up = ", "up, gate = ")),
    "mask-ignored": ("masked", FORWARD, ("if mask is not None:", "if False:")),
    "mask-of-queries": ("masked", FORWARD, ("mask[:, None, None, :]", "mask[:, None, :, None]")),
    "layer-scale-start": (
        "parameters",
        {"initialisation"},
        ("constant_(module.scale1, self.config.layer_scale)", "constant_(module.scale1, 1e-5)"),
    ),
    "drop-path-missing": ("native", TRAIN, (SECOND, "x + self.scale2 * self.mlp(self.norm2(x))")),
    "drop-path-per-token": ("native", TRAIN, ("(x.shape[0],) + (1,) * (x.ndim - 1)", "(*x.shape[:2], 1)")),
    "drop-path-not-scaled-up": ("native", TRAIN, ("x * mask / keep", "x * mask")),
    "head-untied": ("tied", {"structure"} | FORWARD, ("        self.head.weight = self.kinds.weight\n", "")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_by_the_checks_that_should(against, name):
    cases, checks, *edits = FAULTS[name]
    report = against(*edits)
    assert report.verdict == Verdict.DIFFERENT
    loud = [f for f in report.findings if f.verdict != Verdict.NOTE]
    assert {f.check for f in loud} == checks, loud
    first = next(c.name for c in report.checks if c.name in checks)
    assert set(cases.split()) <= {f.case for f in loud if f.check == first}, loud


REWRITES = {
    "resize-in-float32": ((RESIZE, RESIZE.replace("grid,", "grid.float(),") + ".to(grid.dtype)"),),
    "resize-always": (("        if (h, w) == (side, side):\n            return self.pos\n", ""),),
    "mask-by-where": ((FILL, "torch.where(mask[:, None, None, :], scores, -torch.inf)"),),
    "mask-added": ((FILL, "scores + (~mask[:, None, None, :]).to(scores.dtype) * torch.finfo(scores.dtype).min"),),
    "mask-to-sdpa": (
        (
            ATTEND,
            "        keys = None if mask is None else mask[:, None, None, :]\n"
            "        return self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=keys).transpose(1, 2).flatten(2))\n",
        ),
    ),
    "swiglu-in-two": (
        (
            "gate, up = self.w12(x).chunk(2, -1)",
            "gate, up = (F.linear(x, w, b) for w, b in zip(self.w12.weight.chunk(2), self.w12.bias.chunk(2)))",
        ),
    ),
    "swiglu-by-sigmoid": (("F.silu(gate) * up", "gate * up * torch.sigmoid(gate)"),),
    "drop-path-rounded-down": ((MASK, f"(keep + {UNIFORM}).floor_()"),),
    "drop-path-one-less": ((MASK, f"1 - (rate + {UNIFORM}).floor()"),),
    "drop-path-compared-in-place": ((MASK, f"{UNIFORM}.lt_(keep)"),),
    "drop-path-scaled-first": (("x * mask / keep", "x.div(keep) * mask"),),
    "drop-path-of-a-row": ((MASK, "x.new_empty(x.shape[0]).bernoulli_(keep)[:, None, None]"),),
    "head-by-matmul": (("self.head(x[:, 0])", "x[:, 0] @ self.kinds.weight.T"),),
    "kinds-by-one-hot": (
        (
            "self.kinds(kind)[:, None]",
            "F.one_hot(kind[:, None], len(self.head.weight)).to(x.dtype) @ self.head.weight",
        ),
    ),
}


@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_is_not_reported(against, name):
    report = against(*REWRITES[name])
    assert not [f for f in report.findings if f.verdict != Verdict.NOTE], report.findings
    assert report.verdict == Verdict.EQUAL
    assert not [c.name for c in report.checks if not c.compared]
