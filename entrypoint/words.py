"""The words of annotations, summary and comment, in English and Chinese. Sentences of findings come from the report, in both."""

from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "equal": ("the two implementations are the same model", "两个实现是同一个模型"),
    "different": ("the two implementations differ", "两个实现不一致"),
    "error": ("could not be decided", "无法判定"),
    "verdict-equal": ("equal", "一致"),
    "verdict-different": ("different", "不一致"),
    "verdict-error": ("error", "错误"),
    "verdict-skipped": ("skipped", "跳过"),
    "verdict-note": ("note", "提示"),
    "no-verdict": ("no verdict", "没有结论"),
    "undecided": ("undecided", "未判定"),
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
    "user": ("another user", "另一用户"),
    "privileges": ("no new privileges", "无新权限"),
    "limits": ("limits on processes, files and memory", "限制进程、文件与内存"),
    "files": (
        "writes only its scratch folder, reads only code (Landlock)",
        "只写临时目录，只读代码（Landlock）",
    ),
    "signals": ("no signals to other processes", "不能向其他进程发信号"),
    "network": ("no network (seccomp)", "无网络（seccomp）"),
    "scale": ("log10 of the relative difference", "相对差异的 log10"),
    "scale-limit": ("the line is what is allowed", "折线为允许值"),
    "case": ("case", "场景"),
    "model": ("the model", "模型本身"),
    "at-first": ("first divergence", "首个分歧"),
    "at-reference": ("reference of the first divergence", "首个分歧的参考位置"),
    "compare": ("compare with {at}", "请对照 {at}"),
    "compare-reference": ("compare with the reference at {at}", "请对照参考实现 {at}"),
    "counterpart": ("the candidate's counterpart is at {at}", "候选实现的对应位置是 {at}"),
    "more-here": ("and {count} more findings at this line", "此行另有 {count} 项发现"),
    "hidden": (
        "{count} more annotations than GitHub shows of one step are only in this list.",
        "另有 {count} 条注释超出 GitHub 单个步骤的显示上限，仅见于此列表。",
    ),
    "more": ("{count} more", "另有 {count} 项"),
    "cut": ("cut here", "此处截断"),
    "in-json": ("the JSON report has all", "JSON 报告包含全部"),
    "in-summary": ("the {before}job summary{after} has them", "见{before}作业摘要{after}"),
    "still-equal": ("still equal", "仍为一致"),
    "still-different": ("still different", "仍为不一致"),
    "still-error": ("still error", "仍为错误"),
    "new": ("{count} new", "新增 {count} 项"),
    "gone": ("{count} gone", "消失 {count} 项"),
    "as-before": ("{count} as before", "不变 {count} 项"),
    "run": ("run", "运行"),
    "commit": ("commit", "提交"),
}
MARKS = {"equal": "✅", "different": "❌", "error": "⚠️", "skipped": "⏭️", "note": "ℹ️"}


def word(key: str, language: str, **fields: object) -> str:
    """One word or phrase; in both languages "English / 中文". fields: what it is filled with, inserted as it is."""
    en, zh = (text.format(**fields) if fields else text for text in WORDS[key])
    return {"en": en, "zh": zh}.get(language, f"{en} / {zh}")


def said(english: str, chinese: str, language: str) -> tuple[str, ...]:
    """A sentence of the report: in English, in Chinese, or first the one and then the other.

    The English stands for a Chinese that is not there, as in an older verifier's report, and once for two that are alike.
    """
    wanted = {"en": (english,), "zh": (chinese or english,)}.get(language, (english, chinese))
    return tuple(dict.fromkeys(text for text in wanted if text))
