"""What is counted, what is said, what the exit code is."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from verify.selftest import modules, shadow
from verify.selftest.result import Result, Seeded, by_kind
from verify.selftest.show import show, summary


def seeded(status: str, *, kind: str = "lost-factor", harmless: bool = False, **more: object) -> Seeded:
    plain = {
        "kind": kind,
        "place": "model.py:3",
        "change": "-a * b\n+a",
        "ran": status not in ("unreached", "equivalent"),
    }
    return Seeded.model_validate({**plain, "harmless": harmless, "status": status, **more})


def result(*faults: Seeded, rewrites: tuple[Seeded, ...] = ()) -> Result:
    return Result(
        tool_version="1", seed=0, budget=9, variant="tiny", depth=2, checks=["forward"], seconds=1.0, cpu_seconds=1.0,
        finished="2026-01-02T03:04:05+00:00", packages={"reference": {"torch": "2.13.0"}, "candidate": {"torch": None}},
        code={"verifier": "a", "spec": "b", "reference": "c", "candidate": "d"}, sites=99, kinds=by_kind(faults), faults=list(faults), rewrites=list(rewrites),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("faults", "rewrites", "code"),
    [
        (["caught"], [], 0),
        (["caught", "stopped", "noted", "unmoved", "unreached", "equivalent"], ["survived", "unmoved"], 0),
        (["caught", "survived"], [], 1),
        (["caught"], ["caught"], 1),
        (["caught"], ["stopped"], 1),
        ([], [], 2),
        (["unreached", "equivalent"], [], 2),
        (["unmoved", "noted"], ["unmoved"], 2),
        (["unmoved"], ["caught"], 2),
    ],
)
def test_the_exit_code(faults, rewrites, code):
    found = result(*map(seeded, faults), rewrites=tuple(seeded(r, harmless=True) for r in rewrites))
    assert found.exit_code == code


def test_kinds_are_counted():
    states = ("caught", "caught", "survived", "unmoved", "unreached", "equivalent", "stopped")
    (kind,) = by_kind([seeded(s, raised=s == "stopped") for s in states])
    assert kind.model_dump() == {
        "kind": "lost-factor", "run": 5, "caught": 2, "raised": 1, "stopped": 1, "noted": 0, "survived": 1, "unmoved": 1,
        "unreached": 1, "equivalent": 1,
    }  # fmt: skip


def test_nothing_that_was_not_caught_is_left_out_of_what_is_shown():
    states = ("noted", "survived", "unmoved", "unreached", "equivalent")
    faults = [seeded(s, kind=f"kind-{s}", place=f"{s}.py:1") for s in states]
    alarm = seeded("caught", harmless=True, kind="renamed-local", by="forward", finding="it moved \x1b[31m")
    console = Console(record=True, width=120)
    show(result(seeded("caught"), *faults, rewrites=(alarm,)), console)
    text = console.export_text()
    for status in states:
        assert f"1 {status}" in text
        assert f"{status}.py:1" in text
    assert "false alarm" in text
    assert "\x1b" not in text
    assert "it moved \\u001b" in text


@pytest.mark.parametrize(
    ("language", "told", "not_told"),
    [
        (
            "zh",
            [
                "已运行",
                "1 漏过: 数值有变化",
                "最大为 1.0e-03",
                "数值相同：精确算术下逐位相同",
                "误报: forward 报告了",
                "种子 0",
            ],
            "moved",
        ),
        ("both", ["caught / 已发现", "2 values moved, most by 1.0e-03 (x) / 2 个值有变化", "seed 0"], "\n\n\n"),
    ],
)
def test_it_speaks_chinese(language, told, not_told):
    survived = seeded("survived", moved="2 values moved, most by 1.0e-03 (x)")
    same = seeded("equivalent", ran=True, moved="the same values: in exact arithmetic to the bit")
    alarm = seeded("caught", harmless=True, by="forward", finding="output")
    console = Console(record=True, width=200)
    show(result(seeded("caught"), survived, same, rewrites=(alarm,)), console, language)
    text = console.export_text()
    assert [t for t in told if t not in text] == []
    assert not_told not in text


def test_the_sums_name_what_is_not_in_the_share():
    lines = "\n".join(summary(result(seeded("caught"), seeded("survived"), seeded("unmoved"), seeded("unreached"))))
    assert "1 of 2 faults that moved a value were caught (50.0%)" in lines
    assert "1 more moved none" in lines
    assert "1 more in lines that no case runs" in lines
    lines = "\n".join(summary(result(seeded("caught"), seeded("equivalent", ran=True), seeded("equivalent"))))
    assert "1 of 1 faults that moved a value were caught (100.0%)" in lines
    assert "1 more are no change, 0 more moved none" in lines
    assert "1 more that change no instruction" in lines
    assert "(–)" in summary(result())[1]


def test_a_selftest_that_moved_nothing_says_so_first():
    told = summary(result(seeded("unmoved"), seeded("unreached")))
    assert told[0].startswith("no fault moved a value that these checks look at")
    assert not [line for line in summary(result(seeded("caught"))) if line.startswith("no fault moved")]


def test_a_shadow_shows_all_of_a_folder_with_one_file_changed(tmp_path: Path):
    source = tmp_path / "source"
    (source / "package" / "deep").mkdir(parents=True)
    (source / "package" / "__pycache__").mkdir()
    for file in ("top.py", "package/__init__.py", "package/deep/model.py", "package/deep/other.py"):
        (source / file).write_text(file)
    shadow.make(source, tmp_path / "shadow", {"package/deep/model.py": b"changed"})
    seen = {str(f.relative_to(tmp_path / "shadow")): f.read_text() for f in (tmp_path / "shadow").rglob("*.py")}
    assert seen == {
        "top.py": "top.py", "package/__init__.py": "package/__init__.py", "package/deep/model.py": "changed",
        "package/deep/other.py": "package/deep/other.py",
    }  # fmt: skip
    assert (source / "package/deep/model.py").read_text() == "package/deep/model.py"
    assert not (tmp_path / "shadow/package/__pycache__").exists()


def test_modules_get_the_faults_that_fit_them():
    shapes = [([2, 5, 4], [2, 5, 4])]
    calls = {"block": modules.Called("Block", shapes), "block.q": modules.Called("Linear", shapes),
             "block.k": modules.Called("Linear", shapes), "pool": modules.Called("Pool", [([1, 5, 4], [1, 4])])}  # fmt: skip
    structure = {
        "parameters": [{"name": f"block.{n}.weight", "shape": [4, 4]} for n in "qk"],
        "buffers": [{"name": "block.table", "shape": [3], "dtype": "float32"}],
        "tied": [["block.k.weight", "block.q.weight"]],
    }
    settings = {"modules": [{"path": "block", "settings": {"eps": 1e-6, "causal": False, "heads": 2, "kind": "x"}}]}
    found = {(m.kind, m.place) for m in modules.sites(calls, structure, settings)}
    assert {("modules-swapped", "block.k"), ("parameters-tied", "block.k.weight"), ("residual-lost", "block"),
            ("parameter-transposed", "block.q.weight"), ("output-rows-rolled", "block"), ("buffer-drifts", "block.table"),
            ("setting-hidden", "block.eps"), ("setting-changed", "block.heads"),
            ("parameter-untied", "block.q.weight")} <= found  # fmt: skip
    assert not {("residual-lost", "pool"), ("output-rows-rolled", "pool"), ("setting-hidden", "block.heads"),
                ("setting-changed", "block.kind")} & found  # fmt: skip
