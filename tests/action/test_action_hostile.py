"""Every hostile text in every field of a report at once: annotations, summary and comment stay what they are."""

from __future__ import annotations

import json
import re

import pytest
from action_builders import document, finding
from test_action_text import HOSTILE

from entrypoint import annotate, comment, junit, report, summary
from entrypoint.commands import Commands
from entrypoint.outcome import Outcome


@pytest.fixture(params=[name for name in HOSTILE if name not in ("huge", "huge-line", "newlines")], name="outcome")
def _outcome(request: pytest.FixtureRequest) -> Outcome:
    text = HOSTILE[request.param]
    place = {"file": text, "line": 3, "name": text}
    one = finding(check=text, variant=text, case=text, subject=text, kind=text, message=text, message_zh=text + "。", measured=text, allowed=text,
                  reference=place, candidate={"file": "llavavit/model.py", "line": 3, "name": text})  # fmt: skip
    whole = document(
        findings=[one, finding(message=text, message_zh=text + "。", candidate=place)],
        sides={"reference": text, "candidate": text},
        variants=[text],
        skipped=[{"check": text, "variant": text, "case": text, "reason": text, "reason_zh": text + "。"}],
    )
    whole["first_divergence"].update(check=text, subject=text, message=text, message_zh=text + "。", reference=place)
    whole["checks"][0].update(name=text, reason=text, reason_zh=text + "。")
    whole["checks"][0]["groups"][0].update(name=text, check=text, variant=text, reason=text)
    data = json.dumps(whole).encode()
    return Outcome(verdict="different", report=report.parse(data), reason=text[:500], tail=(text[:500],) * 3)


LANGUAGES = pytest.mark.parametrize("language", ["en", "zh", "both"])


@LANGUAGES
def test_the_log_has_only_our_commands(settings, outcome, capsys, language):
    annotate.publish(settings(language=language), outcome, Commands())
    out = capsys.readouterr().out
    assert out
    for line in out.split("\n")[:-1]:
        assert re.match(
            r"::(error|warning|notice) (title=[^:,]*)?(,file=(llavavit|factory)/model\.py,line=\d+)?::", line
        ), line
        assert "##[" not in line
        assert all(c.isprintable() or c in "\t\u00a0" for c in line), line


def markdown(settings, outcome: Outcome, body: str, ours: int) -> None:
    outside = re.sub(r"^(`{3,}).*?^\1$", "", body, flags=re.DOTALL | re.MULTILINE)  # fences are tested on their own
    assert outside.count("<!--") == ours
    tags = set(re.findall(r"</?[a-z]+", outside))
    assert tags <= {"<details", "</details", "<summary", "</summary", "<sub", "</sub"}
    plain = re.sub(r"&#(\d+);", lambda m: chr(int(m[1])), outside)
    plain = re.sub(r"\(https://github\.com/octo/models/[\w/.#-]*\)", "", plain)
    assert not re.search(r"@\w|(?<!\w)#\d|\bGH-\d|www\.\w|https?://", plain, re.IGNORECASE)
    body.encode("utf-8")
    for row in (one for one in outside.splitlines() if one.startswith("|")):
        assert row.count("|") in (5, 6), row


@LANGUAGES
def test_the_summary_shows_it_and_does_nothing(settings, outcome, language):
    markdown(settings, outcome, summary.compose(settings(language=language), outcome, 1, []), 0)


@LANGUAGES
def test_the_comment_shows_it_and_does_nothing(settings, outcome, language):
    body = comment.compose(settings(language=language), outcome, None)
    markdown(settings, outcome, body, 2)
    assert body.startswith(comment.marker(settings()))
    assert len(body.encode()) <= comment.MOST_BYTES


def test_junit_without_a_verdict_takes_any_reason(outcome):
    junit.checked(junit.broken(outcome.reason))
