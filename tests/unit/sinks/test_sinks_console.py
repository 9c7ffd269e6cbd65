"""The report on a terminal, narrow and wide, and its progress."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from unit_builders import HOSTILE, finding_of, full_report, group_of, report_of

from verify.report import Location, Verdict
from verify.sinks import alignment, console
from verify.sinks.progress import Progress
from verify.sinks.text import clean

WIDTHS = (80, 200)
STYLING = re.compile(r"\x1b\[[0-9;]*m")


def printed(render, width: int = 200, colour: bool = False) -> str:
    file = io.StringIO()
    out = Console(
        file=file, width=width, highlight=False, force_terminal=colour, color_system="standard" if colour else None
    )
    render(out)
    return file.getvalue()


def shown(report, width=200, language="en", verbose=False, colour=False) -> str:
    return printed(lambda c: console.show(report, c, language, verbose=verbose), width, colour)


def joined(text: str) -> str:
    return re.sub(r"\s+", "", text)


def harmless(text: str) -> None:
    for c in STYLING.sub("", text):
        assert c == "\n" or clean(c) == c, repr(c)
    text.encode("utf-8")


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(text, width, colour, verbose):
    for found in (
        shown(full_report(text), width, "both", verbose, colour),
        printed(lambda c: alignment.show(full_report(text), c, verbose=verbose), width, colour),
    ):
        harmless(found)
        assert joined(clean(text)[:3000]) in joined(STYLING.sub("", found))


@pytest.mark.parametrize("width", WIDTHS)
def test_lines_fit_the_width(width):
    from rich.cells import cell_len

    for language in ("en", "zh", "both"):
        assert max(map(cell_len, shown(full_report("word " * 200), width, language, True).splitlines())) <= width


@pytest.mark.parametrize(
    ("verdict", "en", "zh"),
    [
        (Verdict.EQUAL, "the two implementations are the same model", "两个实现是同一个模型"),
        (Verdict.DIFFERENT, "the two implementations differ", "两个实现不一致"),
        (Verdict.ERROR, "could not be decided", "无法判定"),
    ],
)
def test_the_verdict_is_last_in_each_language(verdict, en, zh):
    report = report_of([], [group_of(verdict)])
    assert shown(report).splitlines()[-1].startswith(f"{en} (1.5 s)")
    assert shown(report, language="zh").splitlines()[-1].startswith(zh)
    assert shown(report, language="both").splitlines()[-1].startswith(f"{en} / {zh}")


def test_a_difference_is_told_with_figures_and_places():
    text = shown(full_report())
    for part in (
        "forward pass", "different forward base/plain: plain", "plain is plain; the reference has plain",
        "measured 0.5, allowed 1e-13", "reference plain.py:3 (plain)", "first divergence (base/plain)", "not done: ",
        "… 1 more; --verbose or --json FILE shows all",
    ):  # fmt: skip
        assert part in text


def test_zh_has_no_english_sentence():
    text = shown(full_report(), language="zh")
    for part in ("checked", "measured", "allowed", "more;", "the reference", "not done", "seconds", "verdict"):
        assert part not in text
    assert "项未列出" in text


def test_verbose_shows_every_group_and_note():
    text = shown(full_report(), verbose=True)
    assert "base/a  1e-15 ≤ 1e-13" in text
    assert text.count("note forward") == 1
    assert "more;" not in text
    assert "base/a" not in shown(full_report())


@pytest.mark.parametrize(("count", "more"), [(12, ""), (13, "… 1 more;"), (40, "… 28 more;")])
def test_many_findings_are_counted(count, more):
    text = shown(report_of([finding_of(subject=f"<{n}>") for n in range(count)], [group_of(Verdict.DIFFERENT)]))
    assert text.count("different forward base/image: <") == min(count, 12)
    assert more in text
    assert ("more;" in text) == bool(more)


def test_places():
    assert console.place(None) == "?"
    assert console.place(Location(file="a.py", line=3)) == "a.py:3"
    assert console.place(Location(file="[b]a.py", line=3, name="C")) == "\\[b]a.py:3 (C)"


def test_the_guides_rendering():
    text = printed(lambda c: alignment.show(full_report(), c))
    for part in (
        "结构对齐 / Structure alignment", "前向传播对齐 / Forward pass alignment",
        "2 个参数张量，共 12 个参数 / 2 tensors, 12 parameters", "通过 / PASSED", "不一致 / DIFFERENT", "跳过 / SKIPPED",
        "错误 / ERROR", "汇总 / Summary", "首个分歧 / first divergence", "请勿发布。/ The two implementations differ",
        "参考实现 / reference: plain  (torch plain)", "候选实现 / candidate: plain  (plain)", "hidden_size=plain",
    ):  # fmt: skip
        assert part in text, part


def test_the_guides_rendering_lists_parameters_when_verbose():
    assert "    w [2]" in printed(
        lambda c: alignment.show(report_of([], [group_of(Verdict.EQUAL, check="structure")]), c, verbose=True)
    )


def test_a_check_that_the_guide_does_not_know_gets_its_section():
    report = report_of([], [group_of(Verdict.EQUAL, check="precision")])
    text = printed(lambda c: alignment.show(report, c))
    assert "precision" in text
    assert "✅ 两个实现完全对齐" not in text  # the forward pass was not compared
    report = report_of([], [group_of(Verdict.EQUAL, check="precision"), group_of(Verdict.EQUAL)])
    assert "✅ 两个实现完全对齐" in printed(lambda c: alignment.show(report, c))


@pytest.mark.parametrize("packages", [None, [], "x", 3, {"torch": {"a": 1}}, {}])
def test_an_environment_without_form_is_shown_all_the_same(packages):
    report = report_of([], [group_of(Verdict.EQUAL)], environment={"reference": {"packages": packages}})
    assert "参考实现 / reference: a.b:C" in printed(lambda c: alignment.show(report, c))


def test_the_banner():
    assert "LlavaViT 架构对齐验证" in printed(alignment.banner)


@pytest.mark.parametrize("text", HOSTILE)
def test_progress_is_one_harmless_line(text):
    def run(out):
        with Progress(out) as progress:
            progress("reference", text)

    found = printed(run, 300)
    harmless(found)
    assert len(found.splitlines()) == 1
    assert "s  reference" in found


@pytest.mark.parametrize("text", HOSTILE)
def test_progress_on_a_terminal(text):
    def run(out):
        with Progress(out) as progress:
            progress("candidate", text)
            progress("reference", text)
            assert progress._status is not None
            assert "candidate" in str(progress._status.status)

    printed(run, 300, colour=True)


@pytest.mark.parametrize("colour", [False, True])
def test_quiet_progress_prints_nothing(colour):
    def run(out):
        with Progress(out, quiet=True) as progress:
            progress("reference", "x")

    assert printed(run, colour=colour) == ""
