"""The report on a terminal, narrow and wide, and its progress."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from unit_builders import HOSTILE, finding_of, full_report, group_of, report_of

from verify.report import Line, Location, Skipped, Verdict
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
        "forward       different", "different forward base/plain: plain", "plain is plain; the reference has plain",
        "measured 0.5, allowed 1e-13", "reference plain.py:3 (plain)", "first divergence (base/plain)", "not done: ",
        "… 1 of note; --verbose or --json FILE shows all",
    ):  # fmt: skip
        assert part in text


def test_zh_has_no_english_sentence():
    text = shown(full_report(), language="zh")
    for part in ("checked", "measured", "allowed", "more;", "note;", "the reference", "not done", "seconds", "verdict"):
        assert part not in text
    assert "另有 1 项提示；" in text


@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_a_check_is_called_as_check_takes_it(language):
    report = report_of(
        [], [group_of(Verdict.EQUAL, check="initialisation"), group_of(Verdict.ERROR, check="roundtrip")]
    )
    lost = report.checks[1].model_copy(update={"groups": [], "reason": "the spec declares no copies"})
    text = shown(report.model_copy(update={"checks": [report.checks[0], lost]}), language=language)
    assert re.search(r"^initialisation ", text, re.MULTILINE)
    assert re.search(r" roundtrip: ", text)
    assert ("初始化" in text) == (language != "en")
    assert "initial values" not in text


@pytest.mark.parametrize(
    ("language", "told", "not_told"),
    [
        ("en", "not done: source base copies: the spec declares no copies\n", "副本"),
        ("zh", "未执行: source base copies: spec 未声明任何副本\n", "declares"),
        ("both", "not done / 未执行: source base copies: the spec declares no copies / spec 未声明任何副本\n", "?"),
    ],
)
def test_what_was_not_done_is_told_in_the_language(language, told, not_told):
    item = Skipped(check="source", variant="base", case="copies", reason="the spec declares no copies")
    text = shown(report_of([], [group_of(Verdict.EQUAL)], skipped=[item]), language=language)
    assert told in text
    assert not_told not in text


def test_a_failure_of_both_sides_has_a_line_for_each():
    details = {"fed": "x [2, 3], flag=True", "reference": "E: no answer within 3 s; --timeout SECONDS allows more",
               "candidate": "ValueError: no flags"}  # fmt: skip
    failed = finding_of(Verdict.ERROR, kind="fault-both", details=details, measured=None, allowed=None)
    lines = {
        "en": ["  both sides failed, fed x [2, 3], flag=True", f"  reference: {details['reference']}",
               "  candidate: ValueError: no flags"],
        "zh": ["  两侧均失败，输入为 x [2, 3], flag=True", "  参考实现: E: 3 秒内没有应答；--timeout SECONDS 可放宽",
               "  候选实现: ValueError: no flags"],
    }  # fmt: skip
    for language, expected in lines.items():
        text = shown(report_of([failed], [group_of(Verdict.ERROR)]), language=language).splitlines()
        assert [line for line in text if line in expected] == expected
        assert "measured" not in "".join(text)


def test_what_was_not_measured_is_not_told():
    text = shown(report_of([finding_of(allowed=None)], [group_of(Verdict.DIFFERENT)]))
    assert "  measured 0.5\n" in text


def test_verbose_shows_every_group_and_note():
    text = shown(full_report(), verbose=True)
    assert "base/a  1e-15 ≤ 1e-13" in text
    assert text.count("note forward") == 1
    assert "of note;" not in text
    assert "base/a" not in shown(full_report())


@pytest.mark.parametrize(("count", "more"), [(12, 0), (13, 1), (40, 28)])
@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "… {} more; --verbose or"),
        ("zh", "… 另有 {} 项未列出；"),
        ("both", "… {0} more; --verbose or --json FILE shows all / 另有 {0} 项"),
    ],
)
def test_many_findings_are_counted(count, more, language, told):
    findings = [finding_of(subject=f"<{n}>") for n in range(count)]
    text = shown(report_of(findings, [group_of(Verdict.DIFFERENT)]), language=language)
    assert text.count("forward base/image: <") == min(count, 12)
    assert (told.format(more) in text) == bool(more)
    assert ("…" in text) == bool(more)


def test_many_findings_of_one_check_do_not_hide_another():
    findings = [finding_of(check="settings", subject=f"<{n}>") for n in range(30)]
    findings += [finding_of(subject=f"<{n}>") for n in range(5)]
    text = shown(report_of(findings, [group_of(Verdict.DIFFERENT), group_of(Verdict.DIFFERENT, check="settings")]))
    assert re.findall(r"different (\w+) base/image: <(\d+)>", text) == [
        *[("settings", str(n)) for n in range(9)],
        *[("forward", str(n)) for n in range(3)],
    ]
    assert "… 23 more;" in text


def test_places():
    assert console.place(None) == "?"
    assert console.place(Location(file="a.py", line=3)) == "a.py:3"
    assert console.place(Location(file="a.py", line=3, path="side/a.py")) == "side/a.py:3"
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


def test_the_guides_rendering_names_checks_and_speaks_both_languages_throughout():
    findings = [
        finding_of(Verdict.ERROR, kind="fault-run", check="initialisation", subject=f"<{n}>",
                   details={"side": "candidate", "fault": "the process exited with code 3"})
        for n in range(9)
    ]  # fmt: skip
    groups = [group_of(Verdict.EQUAL, check="structure"), group_of(Verdict.EQUAL, check="buffers")]
    item = Skipped(check="source", variant="base", case="copies", reason="the spec declares no copies")
    report = report_of(findings, [*groups, group_of(Verdict.ERROR, check="initialisation")], skipped=[item])
    text = printed(lambda c: alignment.show(report, c))
    for part in (
        "[1] 结构对齐 / Structure alignment (structure, buffers)", "[2] 初始化 / initial values (initialisation)",
        "candidate did not finish: the process exited with code 3 / 候选实现 未能完成：进程以代码 3 退出",
        "另有 1 项", "1 more: llavavit-verify --verbose", "候选实现 / candidate hub/model.py:9 (Layer)",
        "未执行 / not done", "source base copies: the spec declares no copies / spec 未声明任何副本",
    ):  # fmt: skip
        assert part in text, part


def test_a_check_that_the_guide_does_not_know_gets_its_section():
    report = report_of([], [group_of(Verdict.EQUAL, check="precision")])
    text = printed(lambda c: alignment.show(report, c))
    assert "[1] 数值精度 / precision\n" in text
    assert "✅ 两个实现完全对齐" not in text  # the forward pass was not compared
    report = report_of([], [group_of(Verdict.EQUAL, check="precision"), group_of(Verdict.EQUAL)])
    assert "✅ 两个实现完全对齐" in printed(lambda c: alignment.show(report, c))


@pytest.mark.parametrize("packages", [None, [], "x", 3, {"torch": {"a": 1}}, {}])
def test_an_environment_without_form_is_shown_all_the_same(packages):
    report = report_of([], [group_of(Verdict.EQUAL)], environment={"reference": {"packages": packages}})
    assert "参考实现 / reference: a.b:C" in printed(lambda c: alignment.show(report, c))


def test_results_of_one_name_are_all_shown_in_the_guides_rendering():
    report = report_of([finding_of(check="run", case="code", subject="files")], [group_of(Verdict.ERROR, check="run")])
    stopped = report.checks[0].model_copy(update={"groups": [], "compared": 0, "reason": "interrupted by a signal"})
    both = report.model_copy(update={"checks": [*report.checks, stopped]})
    text = printed(lambda c: alignment.show(both, c))
    assert "[1] run" in text
    assert "[2] run" in text
    assert "interrupted by a signal" in text
    assert text.count("files: ") == 1
    assert "run/image" in text


@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_a_divergence_of_another_case_is_told_to_be_so(language):
    said = {
        "en": "the run's first divergence, of forward base/plain:",
        "zh": "本次运行的首个分歧（forward base/plain）：",
    }
    report = full_report()
    other = report.findings[0].model_copy(update={"variant": "wide"})
    report = report.model_copy(update={"findings": [report.findings[0], other]})
    texts = [printed(lambda c, n=n: console.explain_finding(report, n, c, language)) for n in (0, 1)]
    for text in said.values() if language == "both" else [said[language]]:
        assert [text in shown for shown in texts] == [False, True]


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


def test_progress_off_a_terminal_is_a_line_for_each_check_of_each_side():
    def run(out):
        with Progress(out, "zh") as progress:
            for _ in range(50):
                for role in ("reference", "candidate"):
                    for what in (
                        "environment",
                        "base/forward/image",
                        "base/forward/image/noise",
                        "base/gradients/image",
                    ):
                        progress(role, what)
                    progress(role, "image: first difference")

    lines = [line.split("s  ")[1] for line in printed(run).splitlines()]
    steps = ["环境", "base/forward", "base/gradients", "image：定位首个分歧"]
    assert lines == [f"{side} {step}" for side in ("参考实现", "候选实现") for step in steps]


LONG = [Line(number=8, text="def forward(self):"), Line(number=9, text=f"    return self.{'x' * 300}", marked=True)]


@pytest.mark.parametrize("width", WIDTHS)
def test_source_is_not_broken(width):
    first = full_report().first_divergence.model_copy(update={"excerpts": {"candidate": LONG}})
    report = full_report().model_copy(update={"first_divergence": first})
    for text in (shown(report, width), printed(lambda c: console.explain_finding(report, 0, c), width)):
        assert f">     9     return self.{'x' * 300}\n" in text


@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_a_finding_is_explained_with_the_source_at_its_place(language):
    """One of structure has no divergence, and is no less explained."""
    made = finding_of(check="structure", excerpts={"candidate": LONG})
    report = report_of([made, finding_of(reference=None, candidate=None)], [group_of(Verdict.DIFFERENT)])
    placed, bare = (printed(lambda c, n=n: console.explain_finding(report, n, c, language)) for n in (0, 1))
    assert ">     9     return self." in placed
    for text in ("no place is known", "未知两个实现"):
        assert text not in placed
    assert ("no place is known" in bare) == (language != "zh")


def test_source_is_told_once():
    place = Location(file="hub/model.py", line=9, name="Layer")
    first = full_report().first_divergence.model_copy(update={"excerpts": {"candidate": LONG}, "candidate": place})
    report = report_of([finding_of(candidate=place, excerpts={"candidate": LONG})], [group_of(Verdict.DIFFERENT)])
    report = report.model_copy(update={"first_divergence": first})
    assert printed(lambda c: console.explain_finding(report, 0, c)).count("return self.") == 1
