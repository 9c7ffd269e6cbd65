"""Messages: one catalogue in two languages, complete and used."""

from __future__ import annotations

import ast
import string

import pytest
from unit_builders import HOSTILE, ROOT

from verify.checks import available
from verify.messages import BY_SIDE, FINDINGS, LABELS, check_name, label, named, say, translated

KINDS = sorted(FINDINGS)


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_both_languages_say_the_same_things(kind):
    en, zh = FINDINGS[kind]
    assert fields(en) == fields(zh)
    assert all(name.isidentifier() for name in fields(en))
    assert en.isascii()
    words = "".join(part for part, *_ in string.Formatter().parse(en))
    assert any("\u4e00" <= c <= "\u9fff" for c in zh) == any(c.isalpha() for c in words)


@pytest.mark.parametrize("kind", KINDS)
def test_details_are_inserted_as_they_are(kind):
    for text in (*HOSTILE, "{subject}", "{0.__class__}"):
        details = dict.fromkeys(fields(FINDINGS[kind].en) | {"subject", "reference", "candidate"}, text)
        for language in ("en", "zh"):
            said = say(kind, details, language)
            assert said
            assert not fields(FINDINGS[kind].en) or text in said


def test_sentences_are_one_line():
    for kind in KINDS:
        details = dict.fromkeys(fields(FINDINGS[kind].en) | {"reference", "candidate"}, "x")
        assert say(kind, details).count("\n") == (2 if kind in BY_SIDE else 0)


def test_a_missing_detail_is_no_silent_gap():
    with pytest.raises(KeyError):
        say("value", {})
    with pytest.raises(KeyError):
        say("no-such-kind", {})


def test_details_of_ours_are_translated_and_those_of_models_are_not():
    details = {"what": "mean", "reference": "0", "candidate": "mean"}
    assert say("initialisation", details, "zh") == "初始值的 均值 为 均值；参考实现为 0"
    assert say("value", details, "zh") == "mean 为 mean；参考实现为 0"
    details = {"subject": "(the model)", "reference": "eval", "candidate": "train", "why": "as in the reference"}
    assert say("loaded-mode", details, "zh") == "加载后 （模型本身） 处于 train 模式；应为 eval 模式（与参考实现相同）"
    assert "(the model)" in say("loaded-mode", details)
    changed = {"side": "candidate", "subject": "the default dtype", "change": "a -> b"}
    assert say("process-changed", changed, "zh").startswith("候选实现 的一次调用改变了 默认 dtype")
    assert (named("(the model)", "zh"), named("keys", "zh")) == ("（模型本身）", "keys")
    assert translated("nothing was compared", "both") == "nothing was compared / 没有可比较的内容"
    assert translated("of the model", "both") == translated("of the model", "zh") == "of the model"


def test_both_languages_of_a_failure_of_both_sides():
    said = say("fault-both", {"fed": "x [2]", "reference": "A: a", "candidate": "B: b"}, "both").splitlines()
    assert said == [
        "both sides failed, fed x [2] / 两侧均失败，输入为 x [2]",
        "reference / 参考实现: A: a",
        "candidate / 候选实现: B: b",
    ]


@pytest.mark.parametrize("name", sorted(available()))
def test_checks_are_called_by_their_name(name):
    assert check_name(name) == name
    assert check_name(name, "zh") == check_name(name, "both") == f"{name} {LABELS[name].zh}"


@pytest.mark.parametrize("key", sorted(LABELS))
def test_labels(key):
    en, zh = LABELS[key]
    assert (label(key), label(key, "en"), label(key, "zh")) == (en, en, zh)
    assert label(key, "both") == f"{en} / {zh}"


def test_a_label_without_translation_is_shown_as_it_is():
    for language in ("en", "zh", "both"):
        assert label("wording", language) == "wording"


def literals() -> set[str]:
    """Every text constant of the verifier, its catalogue left out."""
    found = set()
    for file in (ROOT / "verify").rglob("*.py"):
        if file.name != "messages.py":
            found |= {
                n.value
                for n in ast.walk(ast.parse(file.read_text()))
                if isinstance(n, ast.Constant) and isinstance(n.value, str)
            }
    return found


def test_every_sentence_is_used_and_every_check_has_a_label():
    assert sorted(set(FINDINGS) - literals()) == []
    assert set(available()) <= set(LABELS)


@pytest.mark.parametrize(
    ("what", "reference", "candidate", "said"),
    [
        (
            "a checkpoint with max_shard_size",
            "3 files",
            "one file",
            "指定 max_shard_size 的检查点：一个文件；参考实现：3 个文件",
        ),
        ("what model.half() gives back", "the model", "something else", "model.half() 的返回值：其他对象；参考实现："),
        ("a key that the model does not have", "told", "not told", "模型中没有的键：未报告；参考实现：已报告"),
    ],
)
def test_what_a_side_does_is_said_in_both_languages(what, reference, candidate, said):
    details = {"what": what, "reference": reference, "candidate": candidate}
    assert say("does", details, "en") == f"{what}: {candidate}; in the reference: {reference}"
    assert say("does", details, "zh").startswith(said)
