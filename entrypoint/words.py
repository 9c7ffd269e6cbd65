"""The words of the summary and the comment, in English and Chinese. Findings' sentences come from the report."""

from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "equal": ("the two implementations are the same model", "两个实现是同一个模型"),
    "different": ("the two implementations differ", "两个实现不一致"),
    "error": ("could not be decided", "无法判定"),
    "check": ("check", "检查项"),
    "verdict": ("verdict", "结论"),
    "compared": ("compared", "比较数"),
    "seconds": ("seconds", "秒"),
    "first": ("First divergence", "首个分歧"),
    "candidate": ("candidate", "候选实现"),
    "reference": ("reference", "参考实现"),
    "findings": ("Findings", "发现"),
    "finding": ("finding", "发现"),
    "measured": ("measured", "测得"),
    "allowed": ("allowed", "允许"),
    "where": ("where", "位置"),
    "skipped": ("Not done", "未执行"),
    "changed": ("Since the last run", "与上次运行相比"),
    "last": ("Last lines of the log", "日志末尾"),
    "error-by": ("Error by case", "各场景误差"),
    "error-by-layer": ("Error by layer (estimated)", "各层误差（估计值）"),
    "safety": ("Isolation of model code", "模型代码的隔离"),
}
MARKS = {"equal": "✅", "different": "❌", "error": "⚠️", "skipped": "⏭️", "note": "ℹ️"}


def word(key: str, language: str) -> str:
    """One word or phrase; in both languages "English / 中文"."""
    en, zh = WORDS[key]
    return {"en": en, "zh": zh}.get(language, f"{en} / {zh}")
