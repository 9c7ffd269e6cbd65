"""Annotations, summary, comment and outputs, against the fake GitHub."""

from __future__ import annotations

import dataclasses
import re

import pytest
from action_builders import document, finding

from entrypoint import annotate, comment, render, summary
from entrypoint.commands import Commands
from entrypoint.inputs import Event

ANNOTATION = re.compile(r"^::(error|warning|notice)(?: (.*?))?::(.*)$")


def lines(capsys) -> list[tuple[str, str, str]]:
    return [m.groups() for m in map(ANNOTATION.match, capsys.readouterr().out.splitlines()) if m]


# -- annotations ----------------------------------------------------------------------------------------------------


def test_the_first_divergence_is_annotated_on_both_lines(settings, outcome, capsys):
    annotate.publish(settings(), outcome(), Commands())
    first, second = lines(capsys)
    assert first[0] == "error"
    assert "file=llavavit/model.py,line=12" in first[1]
    assert "title=first divergence%3A forward" in first[1]
    assert "measured 0.42, allowed 1e-13" in first[2]
    assert "factory/model.py:4" in first[2]
    assert "and 1 more findings at this line" in first[2]
    assert second[0] == "notice"
    assert "file=factory/model.py,line=4" in second[1]


def test_the_other_sides_place_counts_from_the_repository(settings, outcome, capsys):
    first = {**document("different")["first_divergence"], "reference": {"file": "model.py", "line": 4}}
    annotate.publish(
        settings(), outcome(first_divergence=first, environment={"reference": {"path": "factory"}}), Commands()
    )
    assert "compare with the reference at factory/model.py:4" in lines(capsys)[0][2]


def test_worst_first_within_the_limits_and_the_rest_is_counted(settings, outcome, capsys):
    many = [finding(subject=f"p{n}", candidate={"file": "llavavit/model.py", "line": n % 30 + 1}, verdict=v, reference=None)
            for v in ("note", "error", "different") for n in range(25)]  # fmt: skip
    many += [finding(subject=f"unplaced{n}", candidate=None, reference=None) for n in range(9)]
    commands = Commands()
    hidden = annotate.publish(settings(), outcome(findings=many), commands)
    shown = lines(capsys)
    assert [level for level, _, _ in shown].count("error") == 10
    assert [level for level, _, _ in shown] == sorted((s[0] for s in shown), key=["error", "warning", "notice"].index)
    assert hidden > 0


def test_a_failure_that_does_not_fail_the_job_is_a_warning(settings, outcome, capsys):
    annotate.publish(settings(fail_on="never"), outcome(), Commands())
    assert lines(capsys)[0][0] == "warning"


def test_what_an_inferred_place_rests_on_is_annotated(settings, outcome, capsys):
    inferred = finding(hint="inferred: the same module", hint_zh="推断：同一模块")
    annotate.publish(settings(language="both"), outcome(findings=[inferred], first_divergence=None), Commands())
    told = capsys.readouterr().out
    assert "inferred: the same module" in told
    assert "推断：同一模块" in told


def test_hostile_texts_stay_in_their_annotation(settings, outcome, capsys):
    nasty = "x\n::error file=y::pwned\r##[error]z%0A,title=q"
    annotate.publish(
        settings(),
        outcome(findings=[finding(subject=nasty, message=nasty, candidate=None, reference=None)]),
        Commands(),
    )
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert "##[" not in out


ENGLISH, CHINESE = "1 of 2 outputs differ", "2 个输出中有 1 个不同"
FIRST = {"en": "the first module whose inputs agree", "zh": "首个输入一致而输出不同的模块是"}


@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_sentences_are_in_the_chosen_language_everywhere(settings, outcome, capsys, language):
    skipped = {"check": "buffers", "variant": "base", "case": "", "reason": "no buffer", "reason_zh": "没有缓冲区"}
    checks = document()["checks"]
    checks[0].update(reason="as in English", reason_zh="如中文所述")
    chosen = settings(language=language)
    unplaced = [finding(subject="elsewhere", candidate=None, reference=None)]
    made = outcome(skipped=[skipped], checks=checks, findings=unplaced)
    annotate.publish(chosen, made, Commands())
    messages = "\n".join(message for _, _, message in lines(capsys))
    shown = {
        "annotations": (messages, [(ENGLISH, CHINESE), tuple(FIRST.values())]),
        "summary": (
            summary.compose(chosen, made, 2, []),
            [(ENGLISH, CHINESE), tuple(FIRST.values()), ("no buffer", "没有缓冲区"), ("as in English", "如中文所述")],
        ),
        "comment": (
            comment.compose(chosen, made, None),
            [(ENGLISH, CHINESE), tuple(FIRST.values()), ("as in English", "如中文所述")],
        ),
    }
    for where, (text, pairs) in shown.items():
        for en, zh in pairs:
            assert (en in text) == (language != "zh"), (where, en)
            assert (zh in text) == (language != "en"), (where, zh)
            if language == "both":
                assert text.index(en) < text.index(zh)


@pytest.mark.parametrize("language", ["zh", "both"])
def test_an_older_verifiers_report_is_shown_in_english(settings, outcome, capsys, language):
    old = finding(candidate=None, reference=None)
    del old["message_zh"]
    made = outcome(findings=[old])
    annotate.publish(settings(language=language), made, Commands())
    assert sum(message.count(ENGLISH) for _, _, message in lines(capsys)) == 1
    assert summary.compose(settings(language=language), made, 0, []).count(ENGLISH) == 1


def test_a_long_sentence_crowds_out_neither_the_other_language_nor_the_place(settings, outcome, capsys):
    long = finding(message="m" * 9000, message_zh="对" * 9000, candidate=None, reference=None)
    annotate.publish(settings(language="both"), outcome(findings=[long]), Commands())
    [message] = [m for _, _, m in lines(capsys) if "mmm" in m]
    assert "对对对" in message
    assert message.endswith("case / 场景 base/image")
    assert len(message.encode()) <= 4000


def test_in_chinese_no_word_of_ours_is_english(settings, outcome, capsys):
    """What is left of Latin letters is a name: of a check, a case, a place, a person's code, a product."""
    chosen = settings(language="zh")
    made = outcome(held={"user": True})
    before = comment._unpacked(comment.compose(chosen, outcome("equal"), None))
    annotate.publish(chosen, made, Commands())
    body = summary.compose(chosen, made, 3, []) + comment.compose(chosen, made, before) + capsys.readouterr().out
    body = re.sub(r"(?s)```.*?```|<[^>]*>|\(https://[^)]*\)", " ", body)
    body = re.sub(r"^::\w+ title=|,file=|,line=|%[0-9A-F]{2}", "\n", body, flags=re.MULTILINE)
    found = set(re.findall(r"[A-Za-z][\w./-]*", re.sub(r"&#(\d+);", lambda m: chr(int(m[1])), body), re.ASCII))
    assert found <= {
        "forward", "base/image", "encoder.layers.0.attention", "blocks.0.attn", "Attention", "Attn", "last_hidden_state",
        "factory.model", "llavavit.model", "Model", "base", "llavavit/model.py", "factory/model.py", "GitHub", "JSON",
        "Landlock", "seccomp", "s", "e-13", "b" * 12,
    }  # fmt: skip


def test_no_report_is_one_annotation(settings, capsys):
    from entrypoint.outcome import Outcome

    annotate.publish(settings(), Outcome(verdict="error", reason="it broke"), Commands())
    assert lines(capsys) == [("error", "title=llavavit-verify%3A no verdict", "it broke")]


# -- summary --------------------------------------------------------------------------------------------------------


def test_the_summary_has_everything(settings, outcome):
    made = summary.compose(settings(), outcome(held={"user": True}), 4, ["no comment was written"])
    for wanted in ("❌ the two implementations differ", "First divergence", "> &nbsp;" * 0, "```mermaid", "4 more annotations",
                   "no comment was written", "✓ another user", "✗ no network", ">   12  line 12", ">    4  reference 4",
                   "https://github.com/octo/models/blob/" + "b" * 40 + "/llavavit/model.py#L12"):  # fmt: skip
        assert wanted in made


def test_the_summary_charts_the_error_by_layer_where_it_is_known(settings, outcome):
    by_case = summary.compose(settings(), outcome(), 0, [])
    assert "### Error by case" in by_case
    layers = [
        {"path": "embed", "error": 0.0},
        {"path": 'l.0"]\n  click A', "error": 1e-3},
        {"path": "l.1", "error": 0.5},
    ]
    made = outcome()
    assert made.report is not None
    first = made.report.first_divergence
    assert first is not None
    read = type(first).model_validate({**first.model_dump(), "layers": layers})
    report = made.report.model_copy(update={"first_divergence": read})
    shown = summary.compose(settings(), dataclasses.replace(made, report=report), 0, [])
    assert "### Error by layer (estimated)" in shown
    assert 'x-axis ["embed", "l.0-click-A", "l.1"]' in shown
    assert "bar [-4.00, -3.00, -0.30]" in shown
    assert "### Error by case" not in shown


@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_the_summary_speaks_the_language(settings, outcome, language):
    made = summary.compose(settings(language=language), outcome("equal"), 0, [])
    assert ("| ✅ 一致 |" in made) == (language == "zh")
    assert ("两个实现是同一个模型" in made) == (language != "en")
    assert ("the two implementations are the same model" in made) == (language != "zh")


def test_a_summary_is_never_over_the_limit(settings, outcome):
    many = [finding(subject="对" * 600, message="@" * 5000, kind=str(n)) for n in range(5000)]
    made = summary.compose(settings(), outcome(findings=many), 0, [])
    assert len(made.encode()) <= summary.MOST_BYTES
    assert re.search(r"… \d+ more: the JSON report has all", made)


def test_what_can_be_spared_goes_before_any_row():
    rows, spare = [f"| {n} |" for n in range(20)], ["spare", "too"]
    seen = set()
    for most in range(80, 300):
        made = render.fitted(["head"], rows, ["tail"], most, 20, "elsewhere", spare=spare).splitlines()
        assert ("spare" in made) == ("too" in made)
        assert "spare" not in made or (made[-2:] == spare and made.count("| 19 |") == 1)
        seen.add(("spare" in made, "| 19 |" in made))
    assert seen == {(True, True), (False, True), (False, False)}


def test_rows_are_cut_whole():
    rows = [f"| {n} |" for n in range(100)]
    for most in range(60, 700, 7):
        made = render.fitted(["head"], rows, ["tail"], most, 100, "elsewhere")
        assert len(made.encode()) <= most
        assert made.endswith("tail\n")
        shown = [one for one in made.splitlines() if one.startswith("|")]
        assert shown == rows[: len(shown)]
        assert f"… {100 - len(shown)} more: elsewhere" in made


# -- comment --------------------------------------------------------------------------------------------------------


@pytest.fixture
def post(settings, github, monkeypatch):
    """Publishes against the fake GitHub, with short waits."""
    monkeypatch.setattr(comment, "PATIENCE", 1.0)
    monkeypatch.setattr(comment, "DEADLINE", 45.0)

    def publish(outcome, **changes):
        return comment.publish(settings(api_url=github.url, **changes), outcome)

    return publish


def test_one_comment_is_kept_up_to_date_and_turns_green(post, github, outcome):
    url = post(outcome(), run_number=1)
    assert url.endswith("#issuecomment-1001")
    assert "❌" in github.bodies()[0]
    assert post(outcome("equal"), run_number=2) == url
    [body] = github.bodies()
    assert "✅ the two implementations are the same model" in body
    assert "❌ different → ✅ equal, 0 new, 1 gone, 0 as before" in body
    assert post(outcome("equal"), run_number=3) == url
    assert "still equal" in github.bodies()[0]
    assert not github.invalid


def test_it_is_found_across_pages_and_only_when_ours(post, github, outcome, settings):
    github.page = 3
    mark = comment.marker(settings())
    for n in range(7):
        github.comment(7, f"user{n}", f"{mark}\nmine, says a stranger")
    github.comment(7, "github-actions", f"{mark}\na person of that name")
    github.comment(7, "other-app[bot]", f"{mark}\nanother bot, which repeats what it is told")
    ours = github.comment(7, github.me, f"{mark}\nours")
    before = list(github.bodies())
    assert post(outcome()) == ours["html_url"]
    assert github.bodies()[:9] == before[:9]
    assert "❌" in github.bodies()[9]
    assert len(github.bodies()) == 10
    assert not github.invalid


def test_the_marker_must_be_the_first_line(post, github, outcome, settings):
    github.comment(7, github.me, f"quoted: {comment.marker(settings())}")
    post(outcome())
    assert len(github.bodies()) == 2


def test_duplicates_of_ours_go(post, github, outcome, settings):
    for _ in range(3):
        github.comment(7, github.me, comment.marker(settings()))
    post(outcome())
    assert len(github.bodies()) == 1


def test_specs_jobs_and_matrices_have_comments_of_their_own(settings):
    marks = {comment.marker(settings(**c)) for c in ({}, {"spec": "b.yml"}, {"job": "other"}, {"variants": ("base",)}, {"checks": ("base",)}, {"device": "cuda"})}  # fmt: skip
    assert len(marks) == 6


def test_an_older_run_does_not_overwrite_a_newer_one(post, github, outcome):
    post(outcome("equal"), run_number=9)
    post(outcome(), run_number=8)
    assert "✅" in github.bodies()[0]


@pytest.mark.parametrize(("mode", "verdict", "count"), [("off", "different", 0), ("on-difference", "equal", 0), ("on-difference", "different", 1), ("always", "equal", 1)])  # fmt: skip
def test_modes(post, github, outcome, mode, verdict, count):
    post(outcome(verdict), comment=mode)
    assert len(github.bodies()) == count


def test_on_difference_still_turns_green(post, github, outcome):
    post(outcome(), comment="on-difference", run_number=1)
    post(outcome("equal"), comment="on-difference", run_number=2)
    assert "✅" in github.bodies()[0]


def test_no_pull_request_no_comment(post, github, outcome):
    assert post(outcome(), event=Event(name="push")) == ""
    assert github.requests == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 401}, "not valid"),
        ({"status": 403}, "pull-requests: write"),
        ({"status": 404}, "does not see"),
        ({"status": 422}, "refused the text"),
        ({"status": 500}, "500|RetryError|answered|Error"),
        ({"status": 429, "headers": {"Retry-After": "900"}}, "rate limit|did not answer|429|Error"),
        ({"cut": True}, "no comment was written"),
        ({"slow": 30.0}, "did not answer"),
    ],
)
@pytest.mark.parametrize("match", ["GET .*comments", "POST .*comments"])
def test_what_goes_wrong_is_one_sentence(post, github, outcome, fault, said, match, monkeypatch):
    github.fail(match=match, times=100, **fault)
    if "slow" in fault or fault.get("status") == 429:
        monkeypatch.setattr(comment, "DEADLINE", 3.0)
    with pytest.raises(comment.CommentError, match=said) as caught:
        post(outcome())
    assert "\n" not in str(caught.value)
    assert len(github.requests) < 20


def test_a_fork_is_told_the_way_out(post, github, outcome):
    github.read_only = True
    with pytest.raises(comment.CommentError, match="two-workflow recipe"):
        post(outcome(), event=Event(name="pull_request", pull_request=7, head_sha="b" * 40, from_fork=True))


def test_without_a_token_there_is_no_request(post, github, outcome):
    with pytest.raises(comment.CommentError, match="github-token is empty"):
        post(outcome(), token="")
    assert github.requests == []


@pytest.mark.parametrize("fault", [{"status": 502}, {"status": 429, "headers": {"Retry-After": "1"}}, {"status": 403, "headers": {"Retry-After": "1"}}, {"cut": True}])  # fmt: skip
@pytest.mark.parametrize("match", ["GET .*comments", "POST .*comments"])
def test_what_passes_is_waited_for(post, github, outcome, fault, match):
    github.fail(match=match, **fault)
    assert post(outcome())
    assert len(github.bodies()) == 1


def test_a_post_that_was_done_before_it_broke_is_not_done_twice(post, github, outcome):
    github.fail(match="POST .*comments", cut=True, after=True)
    assert post(outcome())
    assert len(github.bodies()) == 1


def test_an_update_outlives_a_broken_connection(post, github, outcome):
    post(outcome(), run_number=1)
    github.fail(match="PATCH", cut=True)
    post(outcome("equal"), run_number=2)
    assert "✅" in github.bodies()[0]


def test_a_token_of_an_app_is_known_by_name(post, github, outcome):
    github.me = "verify-bot[bot]"
    post(outcome(), run_number=1)
    post(outcome(), run_number=2)
    assert len(github.bodies()) == 1


def test_where_graphql_is_refused_the_actions_bot_is_assumed(post, github, outcome):
    github.fail(match="graphql", status=403, times=100)
    post(outcome(), run_number=1)
    post(outcome(), run_number=2)
    assert len(github.bodies()) == 1


def test_on_an_enterprise_server(settings, github, outcome):
    assert comment.publish(settings(api_url=f"{github.url}/api/v3"), outcome())
    assert ("POST", "/api/v3/repos/octo/models/issues/7/comments") in github.requests


def test_a_comment_is_never_over_the_limit(post, github, outcome):
    many = [finding(subject="对" * 500, message="m" * 5000, kind=str(n), case=str(n)) for n in range(1000)]
    post(outcome(findings=many, tail=("x" * 2000,) * 30, reason="r" * 9000))
    [body] = github.bodies()
    assert len(body) <= 65_536
    assert len(body.encode()) <= comment.MOST_BYTES
    assert "more: the [job summary]" in body or "cut here" in body
    assert comment._unpacked(body).run == 3


def test_the_comment_says_which_isolation_held_while_there_is_room(settings, outcome):
    folded = "<details><summary>Isolation of model code</summary>"
    short = comment.compose(settings(), outcome("equal", held={"user": True, "network": False}), None)
    assert re.search(rf"{folded}\n\n✓ another user · .* · ✗ no network \(seccomp\)\n\n</details>$", short.strip())
    assert comment._unpacked(short).verdict == "equal"
    many = [finding(message="m" * 500, kind=str(n), case=str(n)) for n in range(200)]
    long = comment.compose(settings(), outcome(findings=many, held={"user": True}), None)
    assert "more: the [job summary]" in long
    assert folded not in long
    assert folded not in comment.compose(settings(), outcome("equal"), None), "a report of another run: nobody knows"


def test_a_run_after_a_fork_finds_the_pull_request_by_branch_and_commit(post, github, outcome):
    github.pull(number=8, head_sha="e" * 40, head="mallory:topic")
    run = Event(name="workflow_run", run_id=5, head_sha="e" * 40, run_head="mallory:topic")
    assert post(outcome(), event=run)
    assert len(github.bodies(8)) == 1
    moved = Event(name="workflow_run", run_id=5, head_sha="f" * 40, run_head="mallory:topic")
    assert post(outcome(), event=moved) == ""


def test_a_forged_state_in_untrusted_text_is_not_read(settings, outcome):
    forged = "<!-- llavavit-verify-state:e30= -->"
    body = comment.compose(settings(), outcome(findings=[finding(message=forged, subject=forged)]), None)
    assert body.count("<!--") == 2
    assert comment._unpacked(body).verdict == "different"
    assert comment._unpacked("<!-- llavavit-verify-state:AAAA -->") is None


def test_a_maintainer_can_act_on_it_without_the_log(settings, outcome):
    body = comment.compose(settings(), outcome(), None)
    for wanted in ("the two implementations differ", "encoder.layers.0.attention", "llavavit/model.py#L12", "factory/model.py#L4",
                   ">   12  line 12", "measured 0.42", "allowed 1e-13", "[run 77](https://github.com/octo/models/actions/runs/77)"):  # fmt: skip
        assert wanted in body


def test_the_whole_document_is_accepted_by_the_fake(github):
    assert document()["verdict"] == "different"
    assert github.url.startswith("http://127.0.0.1:")
