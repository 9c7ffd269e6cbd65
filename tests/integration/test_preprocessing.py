"""Two image processors, whose only difference is the one that each test makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from verify import spec
from verify.report import Report, Verdict
from verify.run import Options, run
from verify.side import Servers

MODEL = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return self.linear(x)
"""

REFERENCE = """
import numpy as np
import torch
from PIL import Image

def transform(side=32):
    def apply(image):
        image = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
        return (pixels / 255 - 0.5) / 0.25
    return apply
"""

CANDIDATE = """
import numpy as np
import torch
from PIL import Image

class Processor:
    def __init__(self, side=32):
        self.side = side

    def __call__(self, image, return_tensors=None):
        image = image.convert("RGB").resize((self.side, self.side), Image.Resampling.BICUBIC)
        pixels = np.array(image, dtype=np.float32).transpose(2, 0, 1) * np.float32(1 / 255)
        pixels = (pixels - np.float32(0.5)) * np.float32(4)
        return {"pixel_values": torch.from_numpy(pixels)[None]}
"""

SPEC: dict[str, Any] = {
    "version": 1,
    "reference": {"model": "model:Model"},
    "candidate": {"model": "model:Model"},
    "cases": {"one": {"inputs": {"x": {"shape": [2, 3]}}}},
    "checks": ["preprocessing"],
    "preprocessing": {
        "reference": {"make": "reference:transform", "kwargs": {"side": 24}},
        "candidate": {
            "make": "candidate:Processor",
            "kwargs": {"side": 24},
            "arguments": {"return_tensors": "pt"},
            "output": "pixel_values",
        },
    },
}


@pytest.fixture(scope="module")
def servers():
    with Servers(("torch", "safetensors.torch", "PIL.Image")) as shared:
        yield shared


@pytest.fixture
def compare(tmp_path: Path, servers: Servers):
    """Runs the check on the pair with a changed candidate, reference or spec."""

    def run_it(*edits: tuple[str, str], code: str = REFERENCE, **changes: Any) -> Report:
        candidate = CANDIDATE
        for old, new in edits:
            assert candidate.count(old) == 1
            candidate = candidate.replace(old, new)
        for name, text in (("model", MODEL), ("reference", code), ("candidate", candidate)):
            (tmp_path / f"{name}.py").write_text(text)
        file = tmp_path / "spec.yml"
        file.write_text(yaml.safe_dump({**SPEC, "preprocessing": {**SPEC["preprocessing"], **changes}}))
        return run(spec.load(file), tmp_path, Options(timeout=60.0), servers=servers)

    return run_it


def test_two_ways_to_write_one_transform_are_equal(compare):
    report = compare()
    assert report.verdict == Verdict.EQUAL, report.findings
    (check,) = report.checks
    names = {g.name for g in check.groups}
    assert len(names) == 36
    assert {"RGB 448x448", "I;16 7x5", "P 20x600", "CMYK 333x500"} <= names
    assert all(g.compared == 3 * 24 * 24 for g in check.groups)


@pytest.mark.parametrize(
    ("old", "new", "modes"),
    [
        ("Image.Resampling.BICUBIC", "Image.Resampling.BILINEAR", {"RGB", "L", "RGBA", "P", "CMYK"}),
        ("Image.Resampling.BICUBIC", "Image.Resampling.BICUBIC, reducing_gap=1.0", {"RGB", "L", "RGBA", "P", "CMYK"}),
        ("np.float32(0.5)", "np.float32(0.48)", {"RGB", "L", "RGBA", "P", "CMYK", "I;16"}),
        ("np.float32(1 / 255)", "np.float32(1 / 256)", {"RGB", "L", "RGBA", "P", "CMYK", "I;16"}),
        ('image.convert("RGB").resize', "image.resize", {"P", "RGBA", "L", "CMYK", "I;16"}),
        ('image.convert("RGB")', 'image.convert("L").convert("RGB")', {"RGB", "RGBA", "P", "CMYK"}),
        (".transpose(2, 0, 1)", ".transpose(2, 1, 0)", {"RGB", "L", "RGBA", "P", "CMYK"}),
        (".transpose(2, 0, 1)", "[..., ::-1].transpose(2, 0, 1)", {"RGB", "RGBA", "P", "CMYK"}),
        ("from_numpy(pixels)[None]", "from_numpy(pixels)[None].half()", {"RGB", "L", "RGBA", "P", "CMYK", "I;16"}),
    ],
)
def test_a_fault_in_a_processor_is_found(compare, old, new, modes):
    report = compare((old, new), sizes=[[60, 45]])
    assert report.verdict == Verdict.DIFFERENT
    found = {g.name.split(" ")[0] for c in report.checks for g in c.groups if g.verdict == Verdict.DIFFERENT}
    assert modes <= found, report.findings


def test_a_fault_of_one_aspect_ratio_is_found_there(compare):
    crop = "image if image.width <= image.height else image.crop((0, 0, image.width - 1, image.height))"
    report = compare(('image = image.convert("RGB")', f'image = ({crop}).convert("RGB")'), modes=["RGB"])
    found = {f.case for f in report.findings}
    assert found == {"RGB 640x480", "RGB 97x31", "RGB 7x5"}


def test_one_side_that_refuses_a_mode_is_different_and_both_are_skipped(compare):
    refuse = 'assert image.mode != "P"; image = image.convert("RGB")'
    one = compare(('image = image.convert("RGB")', refuse), sizes=[[8, 8]])
    assert {(f.case, f.kind) for f in one.findings} == {("P 8x8", "fault-one")}
    reference = REFERENCE.replace('image = image.convert("RGB")', refuse)
    both = compare(('image = image.convert("RGB")', refuse), sizes=[[8, 8]], code=reference)
    assert both.verdict == Verdict.EQUAL
    assert [(s.case, "refuse" in s.reason) for s in both.skipped] == [("P 8x8", True)]


def test_a_module_level_object_is_used_as_it_is(compare):
    made = "from functools import partial\nready = partial(transform(24))\n"
    report = compare(code=REFERENCE + made, reference={"make": "reference:ready"}, sizes=[[8, 8]])
    assert report.verdict == Verdict.EQUAL, report.findings


def test_what_holds_no_image_says_so(compare):
    report = compare(("torch.from_numpy(pixels)[None]", "torch.zeros(3)"), sizes=[[8, 8]], modes=["RGB"])
    assert report.verdict == Verdict.ERROR
    assert "`output` names where the image is" in report.findings[0].message
