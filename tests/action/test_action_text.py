"""text.py: a corpus of hostile texts, each shown harmless in markdown, in the log and in annotations."""

from __future__ import annotations

import re
import unicodedata

import pytest

from entrypoint import text

HOSTILE = {
    "command": "::error file=x::pwned",
    "command-after-space": "   ::set-output name=verdict::equal",
    "command-after-nbsp": "\u00a0::add-mask::a",
    "command-after-line-separator": "x\u2028::error::y",
    "command-after-carriage-return": "x\r::error::y",
    "command-after-next-line": "x\x85::error::y",
    "command-after-vertical-tab": "\x0b::error::y",
    "legacy-command": "nothing ##[set-env name=PATH]/evil",
    "legacy-error": "##[error]pwned",
    "resume": "::resume::",
    "escape-sequences": "\x1b[31mred\x1b]8;;http://evil\x07link",
    "backspace": "good\b\b\b\bevil",
    "nul": "a\x00b",
    "html": "<script>alert(1)</script>",
    "image": "<img src=x onerror=alert(1)>",
    "comment-open": "<!-- llavavit-verify:0000 -->",
    "comment-state": "<!-- llavavit-verify-state:e30= -->",
    "details": "</details></td></table>",
    "entity": "&lt;b&gt; &#60;b&#62;",
    "link": "[click](https://evil.example)",
    "image-link": "![x](https://evil.example/track.png)",
    "reference": "[x]: https://evil.example",
    "autolink": "<https://evil.example>",
    "bare-link": "https://evil.example/?q=1",
    "www": "www.evil.example",
    "mention": "@octocat please look",
    "team-mention": "cc @octo/admins",
    "issue": "fixes #1",
    "issue-other": "octo/other#12",
    "issue-gh": "GH-12",
    "emoji": ":tada:",
    "table": "a | b | c",
    "table-escape": "a \\| b",
    "row": "x |\n| y | z |",
    "heading": "# big",
    "quote": "> said",
    "rule": "---",
    "list": "- [ ] task",
    "code": "`a` ``b`` ```c```",
    "fence": "```\nnot code\n```",
    "long-fence": "````````\n## heading\n````````",
    "tilde-fence": "~~~\nx\n~~~",
    "emphasis": "**bold** __bold__ *i* _i_ ~~s~~",
    "math": "$\\href{javascript:alert(1)}{x}$ $$x$$",
    "mermaid": '"]\n  click A "https://evil.example"',
    "bidi": "abc\u202egnp.exe\u202c",
    "isolates": "\u2066\u2067evil\u2069",
    "marks": "a\u200eb\u200fc",
    "zero-width": "ad\u200bmin\ufeff",
    "tags": "\U000e0041\U000e0042",
    "lone-surrogate": "a\ud800b",
    "lone-low-surrogate": "\udfff",
    "noncharacter": "\ufffe\uffff",
    "private-use": "\ue000",
    "combining": "e" + "\u0301" * 500,
    "huge": "A" * 1_000_000,
    "huge-line": "::error::" * 100_000,
    "newlines": "\n" * 10_000 + "x",
    "percent": "%0A::error::x %25",
    "comma-colon": "x,file=y::z",
    "html-attribute": '" onmouseover="alert(1)',
    "template": "${{ secrets.TOKEN }} {{ 7*7 }} {% x %}",
    "empty": "",
    "blank": " \t \n ",
}


@pytest.fixture(params=HOSTILE, name="hostile")
def _hostile(request: pytest.FixtureRequest) -> str:
    return HOSTILE[request.param]


def visible(shown: str) -> None:
    shown.encode("utf-8")
    for c in shown.replace(text.INVISIBLE, ""):
        assert unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"), repr(c)


def test_markdown_shows_it_and_does_nothing(hostile):
    shown = text.markdown(hostile)
    visible(shown)
    assert not re.search(r"[<>|`*_\[\]{}!#~$\\\"](?![0-9]+;)", shown.replace("&#", ""))
    assert "&" not in re.sub(r"&#\d+;", "", shown)
    assert "\n" not in shown
    assert len(shown) < 8000
    plain = re.sub(r"&#(\d+);", lambda m: chr(int(m[1])), shown)  # what GitHub's own filters see
    assert not re.search(r"@\w|#\d|\bGH-\d|www\.\w|https?://|:\w+:", plain, re.IGNORECASE)


def test_the_log_reads_no_command_in_it(hostile):
    shown = text.log(hostile)
    visible(shown.replace("\t", " "))
    assert not re.match(r"\s*::", shown)
    assert "##[" not in shown
    assert "\n" not in shown
    assert "\r" not in shown
    assert len(shown) < 3000 * 10


def test_a_fence_stays_closed(hostile):
    lines = text.fence(hostile).split("\n")
    ticks = re.match(r"`+", lines[0])[0]
    assert lines[-1] == ticks
    assert all(not re.match(rf"\s*{ticks}", line) for line in lines[1:-1])


def test_an_annotation_is_within_the_limit(hostile):
    shown = text.annotation(hostile, 4000)
    assert len(shown.encode()) <= 4000
    assert "##[" not in shown


def test_there_are_enough_of_them():
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize("most", range(4, 30))
def test_a_cut_goes_through_no_character(most):
    shown = text.cut("对齐验证é🙂" * 5, most)
    assert len(shown.encode()) <= most
    assert "\ufffd" not in shown
