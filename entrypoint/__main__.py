"""The whole way: inputs → verifier → JSON and JUnit → annotations, comment, summary, outputs → exit code.

python -I -m entrypoint action      the GitHub Action
python -I -m entrypoint publish F   comment with a report that another run left (workflow_run, for forks)
python -I -m entrypoint ...         llavavit-verify's own command line, on /work
"""

from __future__ import annotations

import os
import sys
import time

from entrypoint import annotate, comment, files, inputs, outputs, process, report, summary, verifier
from entrypoint.commands import Commands
from entrypoint.inputs import InputError, Settings
from entrypoint.outcome import Outcome, place
from entrypoint.report import EXIT_CODES

ERROR = EXIT_CODES["error"]


def main(arguments: list[str]) -> int:
    os.umask(0o022)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    commands = Commands()
    if arguments[:1] not in (["action"], ["publish"]):
        from entrypoint import cli

        return cli.main(arguments)
    try:
        settings = inputs.read()
    except InputError as error:
        commands.annotate("error", str(error), title="llavavit-verify: wrong input")
        return ERROR
    if arguments[0] == "publish":
        return publish(settings, arguments[1] if len(arguments) > 1 else settings.json_path, commands)
    return action(settings, commands)


def action(settings: Settings, commands: Commands) -> int:
    """Runs the verifier and publishes what it found. The exit code is the verdict's, whatever became of publishing."""
    started = time.monotonic()
    with process.scratch() as scratch:
        try:
            outcome, data, xml = verifier.run(settings, scratch, commands)
        except OSError as error:
            outcome, data, xml = Outcome(verdict="error", reason=f"the verifier could not be run: {error}"), b"", b""
    notes: list[str] = []
    written = {
        name: _write(settings, path, content, notes)
        for name, path, content in (("json", settings.json_path, data), ("junit", settings.junit_path, xml))
    }
    hidden = annotate.publish(settings, outcome, commands) if settings.annotations else 0
    url = _comment(settings, outcome, notes)
    try:
        summary.write(settings, summary.compose(settings, outcome, hidden, notes))
        outputs.write(settings, {**_values(settings, outcome), **written, "comment-url": url})
    except OSError as error:
        notes.append(f"the runner's files could not be written: {error.strerror}")
    if notes:
        commands.annotate("warning", "\n".join(notes), title="llavavit-verify: not everything was published")
    commands.say(_closing(outcome, settings, time.monotonic() - started))
    return outcome.exit_code if outcome.fails(settings.fail_on) else 0


def publish(settings: Settings, file: str, commands: Commands) -> int:
    """Comments with a report from another run's artifact. Untrusted: checked like the verifier's own."""
    try:
        found, _ = report.read(settings.folder, file)
        outcome = Outcome(verdict=found.verdict, report=found, seconds=found.seconds)
        url = comment.publish(settings, outcome)
    except (report.ReportError, comment.CommentError) as error:
        commands.annotate("warning", str(error), title="llavavit-verify: not published")
        return ERROR
    outputs.write(settings, {**_values(settings, outcome), "comment-url": url})
    commands.say(f"comment: {url or 'none; no open pull request is at the commit that the run checked'}")
    return 0


def _write(settings: Settings, path: str, content: bytes, notes: list[str]) -> str:
    """Writes a file into the workspace; its path, or "" with a note."""
    if not path or not content:
        return ""
    try:
        files.write(settings.workspace, path, content)
    except (OSError, ValueError) as error:
        notes.append(f"{path} could not be written: {getattr(error, 'strerror', None) or error}")
        return ""
    return path


def _comment(settings: Settings, outcome: Outcome, notes: list[str]) -> str:
    try:
        return comment.publish(settings, outcome)
    except comment.CommentError as error:
        notes.append(str(error))
    except Exception as error:  # the verdict never depends on publishing
        notes.append(f"no comment was written: {type(error).__name__}")
    return ""


def _values(settings: Settings, outcome: Outcome) -> dict[str, str]:
    found = outcome.report
    first = found.first_divergence if found else None
    at = None
    if found and first:
        at = place(settings, found, "candidate", first.candidate) or (
            f"{first.candidate.file}:{first.candidate.line}" if first.candidate else None
        )
    return {
        "verdict": outcome.verdict,
        "passed": str(found.count("equal", "note")) if found else "0",
        "failed": str(found.count("different", "error")) if found else "0",
        "skipped": str(found.count("skipped")) if found else "0",
        "first-divergence": str(at or ""),
    }


def _closing(outcome: Outcome, settings: Settings, seconds: float) -> str:
    reason = f": {outcome.reason}" if outcome.reason else ""
    fails = "" if outcome.verdict == "equal" or outcome.fails(settings.fail_on) else f" (fail-on: {settings.fail_on})"
    return f"llavavit-verify: {outcome.verdict}{reason}{fails}, {seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
