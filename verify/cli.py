"""The command line: Spec → run → sinks → exit code."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter, Token, UnusedCliTokensError, validators
from pydantic import ValidationError
from rich.console import Console

from verify import __version__, copies, interrupt, processes, spec
from verify.checks import available
from verify.messages import Language
from verify.pair import Progress
from verify.report import Report
from verify.run import Interrupted, Options, run, unusable
from verify.sinks import console as screen
from verify.sinks import json_file, junit, markdown, terminal
from verify.sinks.progress import Progress as Display
from verify.sinks.terminal import complain, tell
from verify.sinks.text import clean
from verify.spec import Spec, SpecError

ERROR = 2

app = App(
    name="llavavit-verify",
    version=__version__,
    help="Proves that two implementations of a neural network are the same model, or names where they part.\n\n"
    "Without a command it runs the comparison: `llavavit-verify --variant small` is `llavavit-verify run --variant "
    "small`. Exit code: 0 equal, 1 different, 2 could not be decided; 130 and 143 when Ctrl-C or SIGTERM ended it, after "
    "the reports of what was found until then.",
    help_epilogue="Checks:\n\n"
    + "\n".join(f"- {name}: {check.SUMMARY}" for name, check in available().items())
    + "\n\nExamples:\n\n"
    "- the guide's pair, all variants: llavavit-verify --variant all\n"
    "- your own pair, for CI: llavavit-verify --spec pair.yml --junit report.xml --json report.json\n"
    "- one question, fast: llavavit-verify --check forward --case image --depth 2",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.register_install_completion_command()
OUTPUT = Group("Output", sort_key=2)
CHOICE = Group("What is compared", sort_key=1)
LONGEST_TIMEOUT = 1e9
"""Seconds. Sockets and locks take no more than a few of these."""
Positive = Parameter(validator=validators.Number(gt=0, lte=LONGEST_TIMEOUT))


def examples(*lines: str) -> str:
    """Command lines, for the end of a help page."""
    return "Examples:\n\n" + "\n".join(f"- {line}" for line in lines)


def whole(type_: Any, tokens: Sequence[Token]) -> int:
    """A whole number as it is written: the parser of its own rounds 1.5 to 2 without a word."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


@app.command(name="run")
@app.default
def run_command(
    *,
    spec_file: Annotated[Path | None, Parameter(name="--spec", group=CHOICE)] = None,
    variant: Annotated[list[str] | None, Parameter(group=CHOICE, negative="")] = None,
    depth: Annotated[int | None, Parameter(group=CHOICE, converter=whole, validator=validators.Number(gte=1))] = None,
    check: Annotated[list[str] | None, Parameter(group=CHOICE, negative="")] = None,
    case: Annotated[list[str] | None, Parameter(group=CHOICE, negative="")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], Parameter(group=CHOICE)] = "auto",
    seed: Annotated[int, Parameter(group=CHOICE, converter=whole)] = 0,
    timeout: Annotated[float, Positive, Parameter(group=CHOICE)] = 600.0,
    selftest_file: Annotated[Path | None, Parameter(name="--selftest", group=OUTPUT)] = None,
    json: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    junit: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    markdown: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    lang: Annotated[Language, Parameter(group=OUTPUT)] = "en",
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], group=OUTPUT, negative="")] = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], group=OUTPUT, negative="")] = False,
) -> int:
    """Compare the two implementations that a spec names.

    Exit code: 0 equal, 1 different, 2 could not be decided; 130 and 143 when Ctrl-C or SIGTERM ended it.

    Parameters
    ----------
    spec_file
        YAML file that says what is compared with what. Default: llavavit-verify.yml in this folder, else the
        built-in preset for llavavit/ and model_factory/.
    variant
        Size of the model to compare, by its name in the spec, or "all". Repeatable. Default: the spec's
        default_variant (base in the preset).
    depth
        Layers in forward passes; fewer is faster. Default: all, or as many as fit into memory, and the output says so.
    check
        Run only this check. Repeatable. Default: all that the spec lists.
    case
        Run forward passes only on this input scenario of the spec. Repeatable. Default: all.
    device
        Where forward passes run. auto takes a GPU that torch can use.
    seed
        Seed of the weights and inputs that both sides get. The same seed draws the same values.
    timeout
        Seconds that one side may take for one step, such as one forward pass, before it is ended.
    selftest_file
        What `llavavit-verify selftest --json FILE` wrote. The report then says how many seeded faults this gate caught,
        and whether that was with other code than today's.
    json
        Also write the whole report here (format: docs/report.md).
    junit
        Also write JUnit XML here, for the test view of a CI system.
    markdown
        Also write markdown here, for a job summary or a comment.
    lang
        Language of the console and the markdown.
    verbose
        Show every group that was compared, measured against allowed, and every finding.
    quiet
        Show no progress.
    """
    options = Options(
        variants=tuple(variant or ()),
        depth=depth,
        checks=tuple(check or ()),
        cases=tuple(case or ()),
        device=device,
        timeout=timeout,
        seed=seed,
    )
    console, errors = terminal.output(), terminal.errors()
    try:
        tested = tested_by(selftest_file)
    except ValueError as error:
        complain(errors, str(error), lang)
        return ERROR
    with Display(errors, lang, quiet=quiet) as progress:
        report, code = observed(spec_file, options, progress, errors, lang)
    if tested is not None:
        report = tested(report, spec_file)
    code = max(code, publish(report, {"json": json, "junit": junit, "markdown": markdown}, lang, errors))
    if report.checks[0].name != "spec":
        screen.show(report, console, lang, verbose=verbose)
    return code


@app.command(
    help_epilogue=examples(
        "llavavit-verify --json report.json",
        "llavavit-verify explain report.json",
        "llavavit-verify explain report.json --finding 3 --lang zh",
    )
)
def explain(file: Path, /, *, finding: int = 1, lang: Language = "en") -> int:
    """Tell all that a report knows of where the implementations part.

    That is: one finding; then the first divergence, with both sources, the values there, the calls and the data flow
    that led to it, how the two functions differ, and the difference of each output. Runs nothing. Exit code: 0, or 2
    where the file is no report or has no such finding.

    Parameters
    ----------
    file
        A report that --json wrote.
    finding
        Which of the findings, from 1, in the order of the report. Where the implementations first part is told with it.
    lang
        Language of the text.
    """
    console, errors = terminal.output(), terminal.errors()
    try:
        report = Report.model_validate_json(file.read_bytes())
    except OSError as error:
        complain(errors, f"{file}: {error.strerror}; --json FILE of a run writes a report", lang)
        return ERROR
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        complain(errors, f"{file}: not a report of this version: {where}: {first['msg']}", lang)
        return ERROR
    if not 1 <= finding <= max(len(report.findings), 1):
        complain(errors, f"--finding {finding}: the report has {len(report.findings)} findings", lang)
        return ERROR
    screen.explain_finding(report, finding - 1, console, lang)
    return 0


@app.command(help_epilogue=examples("llavavit-verify schema spec > spec.schema.json", "llavavit-verify schema report"))
def schema(what: Literal["report", "spec"] = "report", /) -> int:
    """Print the JSON schema of the report that --json writes, or of a spec.

    That of the spec lets an editor complete and check llavavit-verify.yml.

    Parameters
    ----------
    what
        report or spec.
    """
    found = Report.model_json_schema(mode="serialization") if what == "report" else Spec.model_json_schema()
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


@app.command(help_epilogue=examples("llavavit-verify sync", "llavavit-verify sync --check"))
def sync(
    *,
    spec_file: Annotated[Path | None, Parameter(name="--spec")] = None,
    check: Annotated[bool, Parameter(negative="")] = False,
    lang: Language = "en",
) -> int:
    """Write the files that a spec declares as copies anew from their originals.

    Exit code: 0 when all copies are as their originals, 1 when --check found one that is not, 2 when a file could not be
    read or written.

    Parameters
    ----------
    spec_file
        YAML file with `copies`. Default: as for a comparison.
    check
        Write nothing; only tell which copies differ.
    lang
        Language of the text.
    """
    console, errors = terminal.output(), terminal.errors()
    try:
        found, base = loaded(spec_file)
    except SpecError as error:
        complain(errors, str(error), lang)
        return ERROR
    code, alike = 0, 0
    for copy, original in sorted(found.copies.items()):
        try:
            line = copies.first_difference(base, copy, original)
            if line is not None and not check:
                copies.write(base, copy, original)
        except copies.CopyError as error:
            complain(errors, str(error), lang)
            code = ERROR
            continue
        if line is None:
            alike += 1
            continue
        what = (f"differs from line {line} on" if line else "is missing") if check else "written anew"
        tell(console, f"{copy}: {what}; the original is {original}", lang)
        code = max(code, int(check))
    if not found.copies:
        tell(console, "the spec declares no copies", lang)
    elif alike == len(found.copies):
        tell(console, f"in step: all {alike} copies are as their originals", lang)
    return code


@app.command(
    help_epilogue=examples(
        "llavavit-verify selftest --variant small",
        "llavavit-verify selftest --spec pair.yml --budget 200 --json selftest.json",
        "llavavit-verify selftest --kinds lost-factor --verbose",
    )
)
def selftest(
    *,
    spec_file: Annotated[Path | None, Parameter(name="--spec", group=CHOICE)] = None,
    variant: Annotated[str | None, Parameter(group=CHOICE)] = None,
    depth: Annotated[int | None, Parameter(group=CHOICE, converter=whole, validator=validators.Number(gte=1))] = 2,
    check: Annotated[list[str] | None, Parameter(group=CHOICE, negative="")] = None,
    case: Annotated[list[str] | None, Parameter(group=CHOICE, negative="")] = None,
    kinds: Annotated[list[str] | None, Parameter(group=CHOICE, negative="")] = None,
    budget: Annotated[int, Parameter(group=CHOICE, converter=whole, validator=validators.Number(gte=1))] = 100,
    seed: Annotated[int, Parameter(group=CHOICE, converter=whole)] = 0,
    jobs: Annotated[int | None, Parameter(converter=whole, validator=validators.Number(gte=1))] = None,
    timeout: Annotated[float, Positive] = 120.0,
    json: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    lang: Annotated[Language, Parameter(group=OUTPUT)] = "en",
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], group=OUTPUT, negative="")] = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], group=OUTPUT, negative="")] = False,
) -> int:
    """Seed faults into the candidate and tell which of them the comparison catches.

    Exit code: 0 when every fault that moved a value was caught and no harmless rewrite was reported, 1 when not so, 2 when
    nothing could be seeded, no fault moved a value that the checks look at, or the two implementations differ as they are.

    Parameters
    ----------
    spec_file
        YAML file that says what is compared with what. Default: as for a comparison.
    variant
        Size of the model, by its name in the spec. Default: the spec's default_variant.
    depth
        Layers in forward passes.
    check
        Use only this check. Repeatable. Default: all that the spec lists.
    case
        Run forward passes only on this input scenario of the spec. Repeatable. Default: all.
    kinds
        Seed only this kind of fault. Repeatable. Default: all.
    budget
        How many faults to run the comparison on; a fifth as many harmless rewrites come on top.
    seed
        Which faults are chosen, and the seed of weights and inputs.
    jobs
        How many changed candidates run at once. Default: one for each processor.
    timeout
        Seconds that one side may take for one step.
    json
        Also write all that was seeded and what became of it here (format: docs/selftest.md).
    lang
        Language of the console.
    verbose
        Show every fault that was not caught.
    quiet
        Show no progress.
    """
    from verify.selftest import command  # most runs need none of it

    console, errors = terminal.output(), terminal.errors()
    options = command.Options(
        variant=variant, depth=depth, checks=tuple(check or ()), cases=tuple(case or ()), kinds=tuple(kinds or ()),
        budget=budget, seed=seed, jobs=jobs, timeout=timeout,
    )  # fmt: skip
    with Display(errors, lang, quiet=quiet) as progress:
        try:
            found, base = loaded(spec_file)
            result = command.selftest(found, base, options, lambda text: progress("candidate", text))
        except (SpecError, command.NotEqual) as error:
            complain(errors, str(error), lang)
            return ERROR
    code = max(result.exit_code, command.write(result, json, lambda text: complain(errors, text, lang)))
    command.show(result, console, lang, verbose=verbose)
    return code


def observed(
    file: Path | None, options: Options, progress: Progress, errors: Console, lang: Language
) -> tuple[Report, int]:
    """The report and the exit code. One about a spec that cannot be used, or of an interrupted run, is told at once."""
    try:
        found, base = loaded(file)
        report = run(found, base, options, progress)
    except SpecError as error:
        complain(errors, str(error), lang)
        report = unusable(str(error), options)
    except Interrupted as error:
        tell(errors, f"{error}; both sides were ended", lang)
        return error.report, error.exit_code
    return report, report.exit_code


def tested_by(file: Path | None) -> Callable[[Report, Path | None], Report] | None:
    """What puts the summary of a self-test into a report, given the spec's file. Raises ValueError for a file that is none."""
    if file is None:
        return None
    from verify.selftest import command

    result = command.read(file)

    def put(report: Report, spec_file: Path | None) -> Report:
        with contextlib.suppress(SpecError):  # which the report tells
            return report.model_copy(update={"selftest": command.summary(result, *loaded(spec_file))})
        return report

    return put


def loaded(file: Path | None) -> tuple[Spec, Path]:
    """The spec that is asked for and the folder from which its paths count. Raises SpecError."""
    here = Path.cwd()
    found = spec.find(file, here)
    read = spec.load(found)
    if found != spec.PRESET:
        return read, found.resolve().parent
    parts = sorted({str(side.model or side.factory).partition(".")[0] for side in (read.reference, read.candidate)})
    if any(not (here / part).is_dir() for part in parts):
        raise SpecError(
            f"there is no {spec.DEFAULT_NAME} in this folder, and the built-in preset compares "
            f"{' and '.join(f'{part}/' for part in parts)}, which are not here; write a spec (docs/spec.md) or name one "
            "with --spec FILE"
        )
    return read, here


def publish(report: Report, files: dict[str, Path | None], lang: Language, errors: Console) -> int:
    """Writes the files that were asked for. One that cannot be written costs no other: a message, and exit code 2."""
    writers: dict[str, Callable[[Path], None]] = {
        "json": lambda file: json_file.write(report, file),
        "junit": lambda file: junit.write(report, file),
        "markdown": lambda file: markdown.write(report, file, lang),
    }
    code = 0
    for kind, file in files.items():
        if file is None:
            continue
        try:
            writers[kind](file)
        except Exception as error:
            why = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
            complain(errors, f"--{kind} {file}: {why}; the verdict is {report.verdict.value} all the same", lang)
            code = ERROR
    return code


def main() -> None:
    """Entry point of the console script."""
    interrupt.heed_termination()
    processes.keep_private()
    try:
        code = int(app(sys.argv[1:], exit_on_error=False) or 0)
    except CycloptsError as error:  # it is printed already
        code = ERROR
        hint(error)
    except KeyboardInterrupt as error:
        reason, code = interrupt.describe(error)
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{reason}; both sides were ended\n")
    except OSError as error:  # standard output is a full disk; the files are written
        code = ERROR
        with contextlib.suppress(OSError):
            sys.stderr.write(f"error: the result could not be shown: {error.strerror}\n")
    sys.exit(max(code, flushed()))


def hint(error: CycloptsError) -> None:
    """What was probably meant by a word that no command takes."""
    words = (isinstance(error, UnusedCliTokensError) and error.unused_tokens) or []
    for word in words[:1]:
        near = difflib.get_close_matches(word, [name for name in app if not name.startswith("-")], n=1)
        if word.endswith((".yml", ".yaml")):
            sys.stderr.write(f"hint: a spec is named with --spec: llavavit-verify --spec {clean(word, 200)}\n")
        elif near:
            sys.stderr.write(f"hint: did you mean the command {near[0]}?\n")


def flushed() -> int:
    """Empties standard output. 2 where that fails for want of room; a reader that went away is no failure."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with open(os.devnull, "w") as nothing:  # the interpreter flushes once more at its end
            os.dup2(nothing.fileno(), 1)
        return 0 if isinstance(error, BrokenPipeError) else ERROR
    return 0
