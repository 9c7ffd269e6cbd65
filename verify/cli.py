"""The command line: Spec → run → sinks → exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter, validators
from rich.console import Console

from verify import __version__, spec
from verify.messages import Language
from verify.report import Report
from verify.run import Options, Progress, failed, run
from verify.side import SideError
from verify.sinks import console as terminal
from verify.sinks import json_file, junit, markdown
from verify.sinks.progress import Progress as Display
from verify.spec import Spec, SpecError

ERROR = 2
INTERRUPTED = 130

app = App(
    name="llavavit-verify",
    version=__version__,
    help="Proves that two implementations of a neural network are the same model, or names where they part.\n\n"
    "Without a command it runs the comparison. Exit code: 0 equal, 1 different, 2 error.",
    result_action="return_value",
)
app.register_install_completion_command()
OUTPUT = Group("Output", sort_key=2)
CHOICE = Group("What is compared", sort_key=1)
Positive = Parameter(validator=validators.Number(gt=0))


@app.command(name="run")
@app.default
def run_command(
    *,
    spec_file: Annotated[Path | None, Parameter(name="--spec", group=CHOICE)] = None,
    variant: Annotated[list[str] | None, Parameter(group=CHOICE, negative="")] = None,
    depth: Annotated[int | None, Parameter(group=CHOICE, validator=validators.Number(gte=1))] = None,
    check: Annotated[list[str] | None, Parameter(group=CHOICE, negative="")] = None,
    case: Annotated[list[str] | None, Parameter(group=CHOICE, negative="")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], Parameter(group=CHOICE)] = "auto",
    seed: Annotated[int, Parameter(group=CHOICE)] = 0,
    timeout: Annotated[float, Positive] = 600.0,
    json: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    junit: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    markdown: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    lang: Annotated[Language, Parameter(group=OUTPUT)] = "en",
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], group=OUTPUT, negative="")] = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], group=OUTPUT, negative="")] = False,
) -> int:
    """Compare the two implementations that a spec names.

    Parameters
    ----------
    spec_file
        The spec, a YAML file. Default: llavavit-verify.yml here, else the built-in preset for the guide's layout.
    variant
        Variant to compare, or "all". Repeatable. Default: the spec's (base in the preset).
    depth
        Run forward passes with this many layers. Default: all that fit into memory.
    check
        Run only this check. Repeatable. Default: all.
    case
        Run only this case. Repeatable. Default: all.
    device
        Where forward passes run.
    seed
        Seed of weights and inputs. The same seed gives the same report.
    timeout
        Seconds that one side may take for one step.
    json
        Write the report as JSON here.
    junit
        Write JUnit XML here.
    markdown
        Write markdown here.
    lang
        Language of the console and the markdown.
    verbose
        Show every comparison group and every finding.
    quiet
        Print only the verdict and what was found.
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
    console = Console(highlight=False)
    errors = Console(stderr=True, highlight=False)
    with Display(errors, quiet=quiet) as progress:
        report = observed(spec_file, options, progress, errors)
    if report is None:
        return ERROR
    terminal.show(report, console, lang, verbose=verbose)
    return max(report.exit_code, publish(report, {"json": json, "junit": junit, "markdown": markdown}, lang, errors))


@app.command
def schema(what: Literal["report", "spec"] = "report", /) -> int:
    """Print the JSON schema of the report or of the spec."""
    model = Report if what == "report" else Spec
    sys.stdout.write(json.dumps(model.model_json_schema(), indent=2) + "\n")
    return 0


def observed(file: Path | None, options: Options, progress: Progress, errors: Console) -> Report | None:
    """The report of a run, or None after a message about a spec that cannot be used."""
    found = spec.find(file, Path.cwd())
    try:
        loaded = spec.load(found)
        base = Path.cwd() if found == spec.PRESET else found.resolve().parent
        try:
            return run(loaded, base, options, progress)
        except SideError as error:
            return failed(error, loaded, options)
    except SpecError as error:
        errors.print(f"error: {error}", markup=False, style="bold red")
        return None


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
            file.parent.mkdir(parents=True, exist_ok=True)
            writers[kind](file)
        except OSError as error:
            errors.print(f"error: --{kind} {file}: {error.strerror}; the verdict above stands", markup=False)
            code = ERROR
    return code


def main() -> None:
    """Entry point of the console script."""
    try:
        code = app()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; both sides were ended\n")
        code = INTERRUPTED
    sys.exit(code)
