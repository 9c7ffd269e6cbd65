"""Runs the verifier, known only by its command line and its JSON report, and reads what it left."""

from __future__ import annotations

import sys
from pathlib import Path

from entrypoint import files, junit, process, render, report
from entrypoint.commands import Commands
from entrypoint.inputs import InputError, Settings
from entrypoint.outcome import Outcome
from entrypoint.text import line
from entrypoint.words import word

CODE = Path(__file__).resolve().parent.parent
"""Where `entrypoint` and `verify` are installed."""
REPORT, JUNIT = "out/report.json", "out/report.xml"
INSTALL_MINUTES = 15


def run(settings: Settings, scratch: Path, commands: Commands) -> tuple[Outcome, bytes, bytes]:
    """The outcome, the JSON report (b"" if there is none that can be used) and the JUnit XML."""
    with process.closed(settings.workspace):
        python = sys.executable
        if settings.requirements:
            python, problem = _install(settings, scratch, commands)
            if problem:
                return Outcome(verdict="error", reason=problem), b"", junit.broken(problem)
        result = _verify(settings, scratch, python, commands)
    outcome, data = _outcome(result, scratch)
    note = f"{word('safety', 'en')}: {render.safety(outcome.held, 'en')}" if outcome.held else ""
    return outcome, data, junit.noted(_junit(scratch, outcome), note)


def _verify(settings: Settings, scratch: Path, python: str, commands: Commands) -> process.Result:
    (scratch / "out").mkdir()
    if process.user():
        (scratch / "out").chmod(0o777)
    command = [python, "-s", "-P", "-m", "verify", "run"]
    command += ["--json", str(scratch / REPORT), "--junit", str(scratch / JUNIT)]
    command += ["--device", settings.device, "--lang", settings.language]
    command += ["--timeout", f"{max(settings.timeout / 4, 1):g}"]  # so that a side that hangs costs no more than itself
    for option, values in (("--variant", settings.variants), ("--check", settings.checks)):
        for value in values:
            command.append(f"{option}={value}")
    if settings.spec:
        command.append(f"--spec={settings.spec}")
    if settings.verbose:
        command.append("--verbose")
    with commands.group("llavavit-verify"), commands.untrusted():
        return process.run(
            command,
            folder=settings.folder,
            scratch=scratch,
            timeout=settings.timeout,
            show=_show,
            readable=(settings.workspace, CODE),
            environment={"PYTHONPATH": str(CODE)} if not _installed() else {},
        )


def _show(one: str) -> None:
    sys.stdout.write(one + "\n")
    sys.stdout.flush()


def _installed() -> bool:
    """Whether any Python of this machine finds `verify` without being told where it is."""
    return (
        any("site-packages" in part or "dist-packages" in part for part in CODE.parts)
        or Path("/opt/llavavit-verify") == CODE
    )


def _outcome(result: process.Result, scratch: Path) -> tuple[Outcome, bytes]:
    """A verdict only where the report, the exit code and the way the process ended agree."""
    common = {"tail": result.tail, "held": result.held, "seconds": result.seconds}
    try:
        found, data = report.read(scratch, REPORT)
    except report.ReportError as error:
        reason = result.reason or str(error)
        if not result.reason and result.code not in (0, 1, 2):
            reason = f"{error} ({_ended(result.code)})"
        return Outcome(verdict="error", reason=reason, **common), b""  # type: ignore[arg-type]
    if result.reason:
        return Outcome(verdict="error", report=found, reason=result.reason, **common), data  # type: ignore[arg-type]
    if result.code != report.EXIT_CODES[found.verdict]:
        reason = f"the report says {found.verdict}, but the verifier {_ended(result.code)}"
        return Outcome(verdict="error", report=found, reason=reason, **common), data  # type: ignore[arg-type]
    shown = {**common, "tail": ()}
    return Outcome(verdict=found.verdict, report=found, **shown), data  # type: ignore[arg-type]


def _ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _junit(scratch: Path, outcome: Outcome) -> bytes:
    if outcome.reason:
        return junit.broken(outcome.reason)
    try:
        return junit.checked(files.read(scratch, JUNIT, junit.LARGEST))
    except (OSError, ValueError) as error:
        return junit.broken(f"the verifier's JUnit XML cannot be used: {error}")


def _install(settings: Settings, scratch: Path, commands: Commands) -> tuple[str, str]:
    """A Python with the extra requirements over the image's packages, or what went wrong.

    Installing runs a stranger's code too: it gets the same treatment, but for the network.
    """
    place = scratch / "venv"
    requirements = _requirements(settings, scratch)
    if not process.user() and place.exists():
        raise InputError("requirements: the scratch folder is not empty")
    script = (
        "import glob, os, subprocess, sys, sysconfig, venv\n"
        "place, arguments = sys.argv[1], sys.argv[2:]\n"
        "venv.create(place, with_pip=False, symlinks=True)\n"
        "seen = [p for p in sys.path if p and os.path.isdir(p) and p.endswith('-packages')]\n"
        "[site] = glob.glob(place + '/lib/python3*/site-packages')\n"
        "open(site + '/image.pth', 'w').write('\\n'.join([*seen, *os.environ['CODE'].split(':')]) + '\\n')\n"
        "python = place + '/bin/python'\n"
        "sys.exit(subprocess.call([python, '-m', 'pip', '--disable-pip-version-check', '--no-input', 'install',\n"
        "                          '--no-cache-dir', '--progress-bar=off', *arguments]))\n"
    )
    with commands.group("requirements"), commands.untrusted():
        result = process.run(
            [sys.executable, "-s", "-P", "-c", script, str(place), *requirements],
            folder=settings.folder,
            scratch=scratch,
            timeout=min(settings.timeout, INSTALL_MINUTES * 60),
            show=_show,
            readable=(settings.workspace, CODE),
            environment={"CODE": str(CODE)},
            network=True,
        )
    if result.code == 0 and not result.reason:
        return str(place / "bin" / "python"), ""
    last = line(result.tail[-1], 300) if result.tail else ""
    return "", f"the extra requirements could not be installed: {result.reason or last or _ended(result.code)}"


def _requirements(settings: Settings, scratch: Path) -> list[str]:
    """pip's arguments: a file of the workspace, or the lines of the input written to one."""
    value = settings.requirements
    try:
        if "\n" not in value and files.is_file(settings.workspace, f"{settings.working_directory}/{value}"):
            if value.endswith((".whl", ".tar.gz", ".zip")):
                return [f"./{value}"]
            return ["-r", value]
    except ValueError:
        pass
    file = scratch / "requirements.txt"
    file.write_text("\n".join(one.strip() for one in value.splitlines()) + "\n", encoding="utf-8")
    return ["-r", str(file)]
