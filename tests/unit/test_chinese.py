"""Chinese of what is put together in English elsewhere: every reason and error that the sources hold is known."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from unit_builders import HOSTILE, ROOT

from verify.chinese import FORMS, WORDS, chinese, knows

RAISED = ("ValueError", "SpecError", "CopyError", "Unusable", "Unresolved")
ERRORS = ("spec.py", "cases.py", "copies.py", "mapping.py", "run.py", "pair.py", "observer/build.py")
"""Files whose exceptions reach a user as they are."""


def sample(node: ast.expr) -> str:
    """A text as it may come out, with x where a value goes; empty for what is no text put together here."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    return ""


def reasons(tree: ast.Module) -> Iterator[str]:
    """Texts that are assigned to or passed as `reason`, or given to `_said`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "reason":
            yield from samples(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_said":
            yield from samples(node.args[-1])
        elif isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = zip(target.elts, value.elts, strict=False) if both_tuples(target, value) else [(target, value)]
            for name, given in pairs:
                if getattr(name, "attr", getattr(name, "id", "")) == "reason":
                    yield from samples(given)


def both_tuples(target: ast.expr, value: ast.expr) -> bool:
    return isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)


def samples(node: ast.expr) -> Iterator[str]:
    """Each branch of a choice."""
    if isinstance(node, ast.IfExp):
        yield from (*samples(node.body), *samples(node.orelse))
    else:
        yield sample(node)


def raised(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and getattr(node.func, "id", "") in RAISED:
            yield sample(node.args[0])


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def unknown(texts: Iterable[str]) -> list[str]:
    """Those with words in them and no Chinese."""
    return [text for text in texts if re.search(r"[a-z]{2,} [a-z]{2,}", text) and not knows(text)]


REASONED = [
    *(ROOT / "verify" / "checks").glob("*.py"),
    *(ROOT / "verify" / f"{n}.py" for n in ("idle", "run", "scenes", "tolerance")),
]


@pytest.mark.parametrize("file", sorted(REASONED), ids=lambda f: f.name)
def test_every_reason_has_chinese(file):
    assert sorted(unknown(reasons(parsed(file)))) == []


def test_a_reason_without_chinese_would_be_seen():
    source = (
        "outcome.skipped, outcome.reason = True, f'{x} has no such thing'; Outcome(reason='nothing of the kind');"
        "outcome.reason = 'this way' if x else 'or that'; reason = 'just so'; _said(check, 'as they say')"
    )
    assert sorted(unknown(reasons(ast.parse(source)))) == [
        "as they say", "just so", "nothing of the kind", "or that", "this way", "x has no such thing",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_has_chinese(name):
    found = list(raised(parsed(ROOT / "verify" / name)))
    assert found
    assert unknown(found) == []


@pytest.mark.parametrize("en", FORMS)
def test_a_form_keeps_its_fields(en):
    fields = set(re.findall(r"\{(\w+)\}", en))
    assert set(re.findall(r"\{(\w+)\}", FORMS[en])) == fields
    if re.search(r"[a-z]{3}", re.sub(r"\{\w+\}", "", en)):
        assert knows(re.sub(r"\{(\w+)\}", "xx", en))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("neither side offers it: Net offers no gradient checkpointing", "两侧均不支持：Net 不支持梯度检查点"),
        ("E: x (at a.py:3 in f > b.py:4 in g)", "E: x（位于 a.py:3 in f > b.py:4 in g）"),
        ("s.yml:8: a.b: unknown key; did you mean `c`?\ns.yml:9: d: this key is missing",
         "s.yml:8: a.b：未知的键；是否指 `c`？\ns.yml:9: d：缺少该键"),
        ("s.yml:8: a: Input should be greater than 0; got 0", "s.yml:8：a: 应大于 0；实际为 0"),
        ("s.yml:4: default_variant: there is no variant 'bas'; did you mean 'base'? (there are: base)",
         "s.yml:4: default_variant：没有变体 'bas'；是否指 'base'？（已有：base）"),
        ("error: candidate.path: there is no folder /x", "错误：candidate.path：没有文件夹 /x"),
        ("error: there is no variant 'b' (there are: a)", "错误：没有变体 'b'（已有：a）"),
        ("not run: the candidate side had already ended 4 times; the last time: the process exited with code 3",
         "未运行：候选实现进程已中止 4 次；最近一次：进程以代码 3 退出"),
    ],
)  # fmt: skip
def test_a_text_within_a_text_is_translated_too(text, told):
    assert chinese(text) == told


@pytest.mark.parametrize("text", [*HOSTILE, "", "\n", "ValueError: only my model says this", "a: b: c", "x" * 5000])
def test_what_is_not_known_stays_as_it_is(text):
    assert chinese(text) == text


def test_words_are_chinese():
    assert all(re.search(r"[\u4e00-\u9fff]", zh) for en, zh in WORDS.items() if en not in ("Ctrl-C", "SIGTERM"))
