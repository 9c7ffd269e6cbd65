"""Markdown: rendered, hostile text is still text."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from unit_builders import HOSTILE, finding_of, full_report, group_of, report_of

from verify.report import Verdict
from verify.sinks import markdown
from verify.sinks.text import one_line

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
ZERO_WIDTH = "\u200b"
INERT = {"paragraph_open", "paragraph_close", "inline", "text"}
TRICKS = st.text(st.sampled_from(list("\\`*_{}[]()#+-=!|~@:<>&;.w1 \nahtps/$\"'")), max_size=40)


def shown(source: str) -> tuple[set[str], str]:
    """Kinds of tokens, and the text that a reader sees."""
    kinds, text = set(), ""
    for token in READER.parse(source):
        kinds.add(token.type)
        for child in token.children or ():
            kinds.add(child.type)
            text += child.content if child.type in ("text", "text_special") else ""
    return kinds, text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(text):
    kinds, seen = shown(markdown.escape(text))
    assert kinds - INERT <= {"text_special"}
    assert seen.replace(ZERO_WIDTH, "") == one_line(text)


@given(TRICKS | st.text(max_size=60))
def test_any_text_is_shown_as_it_is(text):
    kinds, seen = shown(markdown.escape(text))
    assert kinds - INERT <= {"text_special"}
    assert seen.replace(ZERO_WIDTH, "") == one_line(text)


@given(TRICKS)
def test_a_cell_is_one_cell(text):
    table = f"| a | b |\n|---|---|\n| {markdown.escape(text)} | end |\n"
    rendered = READER.render(table)
    assert rendered.count("<td>") == 2
    assert html.unescape(re.findall(r"<td>(.*?)</td>", rendered)[0]).replace(ZERO_WIDTH, "") == one_line(text)


@given(TRICKS | st.text(max_size=60))
def test_no_html_and_no_mention_or_reference_in_what_github_renders(text):
    rendered = READER.render(markdown.escape(text))
    assert set(re.findall(r"<[^>]*>", rendered)) <= {"<p>", "</p>"}
    seen = html.unescape(re.sub(r"<[^>]*>", "", rendered))
    assert not re.search(r"@[A-Za-z0-9]|#\d", seen)


@given(TRICKS)
def test_no_bare_link_is_in_the_source(text):
    source = markdown.escape(text)
    assert "://" not in source
    assert not re.search(r"(?i)(^|[\s*_~(])www\.", source)


@pytest.mark.parametrize("text", ["www.evil.example", "_www.x.y", "https://x.y", "GH-12", "#12", "a@b.c", "org/repo#3"])
def test_known_autolinks_are_broken(text):
    source = markdown.escape(text)
    assert text not in source
    assert shown(source)[1].replace(ZERO_WIDTH, "") == text


@pytest.mark.parametrize("language", ["en", "zh", "both"])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_whole_report_of_hostile_text(text, language):
    source = markdown.render(full_report(text), language)
    rendered = READER.render(source)
    tags = {re.match(r"</?(\w+)", t)[1] for t in re.findall(r"<[^>]*>", rendered)}
    assert tags <= {"h2", "h3", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
    assert rendered.count("<table>") == 2
    assert rendered.count("<tr>") == 2 + 2 + 2
    source.encode("utf-8")


def test_a_report_says_what_matters():
    rendered = READER.render(markdown.render(full_report()))
    for part in (
        "<h2>❌ the two implementations differ</h2>",
        "<h3>first divergence</h3>",
        "<h3>findings (2)</h3>",
        "<h3>not done</h3>",
        "plain.py:3 plain",
        "<td>0.5</td>",
        "<td>1e-13</td>",
    ):
        assert part in html.unescape(rendered)


def test_an_equal_report_is_short():
    source = markdown.render(report_of([], [group_of(Verdict.EQUAL)]))
    assert source.startswith("## ✅ the two implementations are the same model\n")
    assert "findings" not in source
    assert "divergence" not in source


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("zh", ["两个实现不一致", "检查项", "首个分歧", "发现", "未执行"]),
        ("both", ["the two implementations differ / 两个实现不一致", "check / 检查项", "first divergence / 首个分歧"]),
    ],
)
def test_languages(language, words):
    source = markdown.render(full_report(), language)
    for word in words:
        assert word in source
    if language == "zh":
        assert "findings" not in source
        assert "the reference has" not in source


def test_a_reason_is_shown_in_the_table():
    report = report_of([], [group_of(Verdict.EQUAL)])
    check = report.checks[0].model_copy(update={"reason": "a | b"})
    assert "equal (a \\| b) |" in markdown.render(report.model_copy(update={"checks": [check]}))


@pytest.mark.parametrize(("count", "more"), [(50, None), (51, "… 1 more"), (90, "… 40 more")])
def test_many_findings_are_counted(count, more):
    report = report_of([finding_of(subject=str(n)) for n in range(count)], [group_of(Verdict.DIFFERENT)])
    rendered = READER.render(markdown.render(report))
    assert rendered.count("<tr>") == 2 + 1 + min(count, 50)
    assert ("more" in rendered) == bool(more)
    if more:
        assert f"<p>{more}: the JSON report has them all</p>" in rendered


def test_the_file_is_written_as_utf8(tmp_path):
    markdown.write(full_report("\ud800 中文"), tmp_path / "r.md", "both")
    assert "中文" in (tmp_path / "r.md").read_text(encoding="utf-8")
