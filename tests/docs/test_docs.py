"""The documents say what is so: commands parse, links lead somewhere, tables of keys are those of the code."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
import yaml
from lxml import etree
from pydantic import BaseModel

from verify import report, spec
from verify.checks import available
from verify.cli import app
from verify.messages import FINDINGS
from verify.side import PASSED_ON

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(f for d in ("docs", "llavavit", "model_factory") for f in ROOT.glob(f"{d}/*.md"))]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
document = pytest.mark.parametrize("file", DOCUMENTS, ids=lambda f: str(f.relative_to(ROOT)))


def read(name: str | Path) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(text) if found == language]


def prose(text: str) -> str:
    return FENCE.sub("", text)


def section(text: str, heading: str) -> str:
    """The text under a heading, up to the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}$\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {heading!r}"
    return found[1]


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the table under a heading whose first column is code."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in section(text, heading).splitlines()
        if line.startswith("| `")
    ]


def code(cell: str) -> str:
    return cell.strip("| ").strip("`")


# --- commands ---------------------------------------------------------------------------------------------------------


def commands() -> list[tuple[str, str]]:
    """Every command line of a fenced block, and every one in backticks that starts with a program of ours."""
    found = []
    for file in DOCUMENTS:
        text, name = read(file), str(file.relative_to(ROOT))
        for block in blocks(text, "sh") + blocks(text, "bash") + blocks(text, "console"):
            found += [(name, line) for line in block.splitlines() if line.strip() and not line.startswith("#")]
        found += [(name, line) for line in re.findall(r"`((?:llavavit-verify|make) [^`]+)`", prose(text))]
    return found


@pytest.fixture(scope="module")
def guide_help() -> str:
    script = [sys.executable, str(ROOT / "verify_architecture_alignment.py"), "--help"]
    return subprocess.run(script, capture_output=True, text=True, check=True, timeout=60).stdout


def parse(tokens: list[str]) -> None:
    app.parse_args(tokens, exit_on_error=False, print_error=False)


def publishing_pages() -> list[str]:
    """Pages of which every command is run, against a Hub on loopback."""
    text = read("tests/publishing/test_publishing_docs.py")
    found = re.search(r"^PAGES = (\(.*?\))$", text, re.MULTILINE | re.DOTALL)
    assert found
    return list(ast.literal_eval(found[1]))


def test_there_are_commands_in_the_documents():
    assert len(commands()) > 20


@pytest.mark.parametrize(("where", "line"), commands(), ids=lambda v: v)
def test_command(where, line, guide_help):
    program, *rest = shlex.split(line)
    if program == "llavavit-verify":
        parse(rest)
    elif program == "make":
        assert all(re.search(rf"^{re.escape(target)}:", read("Makefile"), re.MULTILINE) for target in rest)
    elif program == "python" and rest[:2] == ["-m", "pytest"]:
        assert (ROOT / rest[2]).exists()
    elif program == "python" and rest[0] == "verify_architecture_alignment.py":
        assert all(option in guide_help for option in rest[1:] if option.startswith("-"))
    elif program == "python" and rest[0].startswith("model_factory/"):
        tool = importlib.import_module(rest[0].removesuffix(".py").replace("/", "."))
        tool.app.parse_args(rest[1:], exit_on_error=False, print_error=False)
    elif line.startswith(("hf upload ", "python staged/example.py")):
        assert where in publishing_pages(), f"{where}: tests/publishing/test_publishing_docs.py does not run it"
    else:
        assert line == ". .venv/bin/activate", f"{where}: no test knows what to do with {line!r}"


def test_a_wrong_command_would_be_seen():
    with pytest.raises(Exception, match="varient"):
        parse(["--varient", "base"])


def test_help_names_every_check_and_explains_every_option(capsys):
    parse(["run"])
    app(["run", "--help"])
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    for name, check in available().items():
        assert f"{name}: {check.SUMMARY}" in shown
    for argument in app["run"].assemble_argument_collection(parse_docstring=True):
        assert argument.parameter.help, argument.name


# --- links ------------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Anchors of headings as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@document
def test_links_lead_somewhere(file):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(read(file))):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.is_relative_to(ROOT), target
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), target


@document
def test_every_fence_has_an_end(file):
    assert len(re.findall(r"^```", read(file), re.MULTILINE)) % 2 == 0


# --- README, both languages -------------------------------------------------------------------------------------------


def test_both_readmes_have_the_same_parts():
    english, chinese = read("README.md"), read("README.zh-CN.md")
    levels = [re.findall(r"^#+ ", prose(text), re.MULTILINE) for text in (english, chinese)]
    assert levels[0] == levels[1]
    for language in ("sh", "python", "yaml", ""):
        assert blocks(english, language) == blocks(chinese, language)
    links = [
        [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(text)) if not link.startswith("README")]
        for text in (english, chinese)
    ]
    assert links[0] == links[1]
    tables = [len(re.findall(r"^\|", text, re.MULTILINE)) for text in (english, chinese)]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_readme_lists_every_check(name):
    heading = {"README.md": "What is compared", "README.zh-CN.md": "比较什么"}[name]
    assert [code(row[0]) for row in rows(read(name), heading)] == list(available())


def test_both_alignment_guides_have_the_same_parts():
    english, chinese = read("docs/alignment-guide.md"), read("docs/alignment-guide.zh-CN.md")
    for count in (r"^#+ ", r"^\|", r"^\*\*"):
        assert len(re.findall(count, english, re.MULTILINE)) == len(re.findall(count, chinese, re.MULTILINE)), count
    assert blocks(english, "sh") == blocks(chinese, "sh")
    code_of = [sorted(re.findall(r"`([^`\n]+)`", prose(text))) for text in (english, chinese)]
    assert set(code_of[0]) == set(code_of[1])


def test_readme_opens_with_what_it_does_a_picture_and_two_commands():
    text = read("README.md")
    first, picture, two = (text.index(part) for part in ("Proves that", "![", "```sh\nmake verify\nmake test\n"))
    assert first < picture < two < text.index("## Compare your own pair")


# --- docs/spec.md -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("Top level", spec.Spec),
        ("Sides", spec.SideSpec),
        ("Cases", spec.CaseSpec),
        ("Mapping", spec.MappingSpec),
        ("Parameter rules", spec.ParameterRule),
        ("Checks", spec.CheckSpec),
        ("Preprocessing", spec.PreprocessingSpec),
        ("Processors", spec.ProcessorSpec),
        ("Tolerance", spec.ToleranceSpec),
    ],
)
def test_keys_of_the_spec(heading, model):
    written = {code(row[0]): row[1] for row in rows(read("docs/spec.md"), heading)}
    assert written == defaults(model)


def test_keys_and_draws_of_inputs():
    found = rows(read("docs/spec.md"), "Inputs")
    names = [code(row[0]) for row in found]
    keys = len(spec.InputSpec.model_fields)
    assert {code(row[0]): row[1] for row in found[:keys]} == defaults(spec.InputSpec)
    assert tuple(names[keys + 1 :] if names[keys] == "draw" else names[keys:]) == get_args(
        spec.InputSpec.model_fields["draw"].annotation
    )


def defaults(model: type[BaseModel]) -> dict[str, str]:
    """Every key with its default as the table writes it."""
    found = {}
    for name, key in model.model_fields.items():
        default = key.get_default(call_default_factory=True)
        plain = default.model_dump() if isinstance(default, BaseModel) else default
        found[name] = "required" if key.is_required() else f"`{json.dumps(plain)}`"
    return found


def test_what_each_check_proves_is_told_with_its_options():
    found = {code(row[0]): row[2] for row in rows(read("docs/spec.md"), "What each check proves")}
    checks = available()
    assert list(found) == list(checks)
    for name, options in found.items():
        source = read(f"verify/checks/{name}.py")
        assert ("`cases`" in options) == checks[name].RUNS_CASES, name
        assert ("`vary`" in options) == (".vary" in source), name
        assert ("`config`" in options) == (checks[name].RUNS_CASES or "values_of(" in source or ").config" in source), (
            name
        )


def test_every_model_of_the_spec_is_documented():
    models = {m for m in vars(spec).values() if isinstance(m, type) and issubclass(m, spec.Strict)} - {spec.Strict}
    documented = {
        "Spec",
        "SideSpec",
        "CaseSpec",
        "InputSpec",
        "MappingSpec",
        "ParameterRule",
        "CheckSpec",
        "ToleranceSpec",
        "PreprocessingSpec",
        "ProcessorSpec",
    }
    assert {m.__name__ for m in models} == documented


@pytest.mark.parametrize("block", blocks(read("docs/spec.md"), "yaml"), ids=lambda b: b.split("\n")[0])
def test_spec_examples_are_valid(block, tmp_path):
    least = yaml.safe_load(blocks(read("README.md"), "yaml")[0])
    file = tmp_path / "spec.yml"
    own = yaml.safe_load(block)
    file.write_text(block if "version" in own else yaml.safe_dump({**least, **own}), encoding="utf-8")
    loaded = spec.load(file)
    assert set(loaded.checks) <= set(available())


@pytest.mark.parametrize(
    "wrong",
    ["{shape: [2], below: 5}", "{shape: [2], draw: subset}", "{shape: [2], draw: subset, below: 5, dtype: float}"],
)
def test_inputs_that_the_tables_rule_out_are_refused(wrong, tmp_path):
    least = yaml.safe_load(blocks(read("README.md"), "yaml")[0])
    least["cases"]["batch"]["inputs"]["x"] = yaml.safe_load(wrong)
    file = tmp_path / "spec.yml"
    file.write_text(yaml.safe_dump(least), encoding="utf-8")
    with pytest.raises(spec.SpecError, match=r"cases\.batch\.inputs\.x"):
        spec.load(file)


# --- docs/report.md ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("Report", report.Report),
        ("Check", report.CheckResult),
        ("Group", report.Group),
        ("Finding", report.Finding),
        ("Location", report.Location),
        ("Divergence", report.Divergence),
        ("Self-test", report.Selftest),
        ("Line", report.Line),
        ("Skipped", report.Skipped),
    ],
)
def test_keys_of_the_report(heading, model):
    written = [*model.model_fields, *model.model_computed_fields]
    assert [code(row[0]) for row in rows(read("docs/report.md"), heading)] == written


def test_verdicts_and_kinds_of_the_report():
    text = read("docs/report.md")
    assert {code(row[0]) for row in rows(text, "Verdicts")} == {v.value for v in report.Verdict}
    assert [code(row[0]) for row in rows(text, "Kinds")] == list(FINDINGS)


def test_exit_codes_are_those_of_the_code():
    for name in ("README.md", "README.zh-CN.md"):
        codes = [int(n) for n in re.findall(r"^\| (\d+) \|", read(name), re.MULTILINE)]
        assert codes == [*report.EXIT_CODES.values(), 130, 143]


def test_the_packaged_schema_is_current():
    packaged = json.loads(read("verify/report.schema.json"))
    assert packaged == report.Report.model_json_schema(mode="serialization"), "run `make schema`"
    assert packaged["properties"]["schema_version"]["const"] == report.SCHEMA_VERSION


# --- the other pages --------------------------------------------------------------------------------------------------


def test_architecture_lists_every_file_of_the_verifier():
    text = read("docs/architecture.md")
    house = section(text, "The house")
    listed = set(re.findall(r"[\w.]+\.(?:py|json)", house))
    files = {f.name for f in (ROOT / "verify").rglob("*") if f.suffix in (".py", ".json")} - {"__init__.py"}
    for folder in ("benchmarks", "scripts"):
        files |= {f.name for f in (ROOT / folder).glob("*.py")}
    assert files <= listed, "missing in docs/architecture.md"
    assert listed <= files | {"verify_architecture_alignment.py", "picture.py"}, "listed there and gone"


def test_pages_list_every_folder_of_tests_and_the_house():
    tests = {f.name for f in (ROOT / "tests").iterdir() if f.is_dir() and any(f.rglob("*.*"))} - {"data", "__pycache__"}
    listed = {
        code(row[0]).removeprefix("tests/").strip("/") for row in rows(read("CONTRIBUTING.md"), "Where tests are")
    }
    assert listed == tests
    house = section(read("docs/architecture.md"), "The house")
    assert all(
        f"{name}/" in house for name in (*tests, "entrypoint", "benchmarks", "scripts", "llavavit", "model_factory")
    )


def test_the_action_section_names_files_that_are_there():
    text = section(read("docs/architecture.md"), "The Action")
    named = re.findall(r"`(\w+\.py)`", text)
    assert len(named) > 5
    assert all((ROOT / "entrypoint" / name).exists() for name in named)


def test_paths_that_pages_name_exist():
    guides = ("docs/alignment-guide.md", "docs/alignment-guide.zh-CN.md")
    for name in ("docs/architecture.md", "CONTRIBUTING.md", *guides):
        for path in re.findall(r"`((?:verify|llavavit|model_factory|docs|tests|requirements)/[\w./]*)`", read(name)):
            assert (ROOT / path).exists(), f"{name}: {path}"


def test_security_lists_the_environment_that_passes():
    text = read("SECURITY.md")
    listed = section(text, "What holds today")
    found = re.findall(r"`([A-Z][A-Z_]*\*?)`", listed.partition("Offline by request")[0])
    written = {name.replace("*", r"\w+") for name in found} - {"HOME", "TMPDIR"}
    assert written == set(PASSED_ON.pattern.split("|"))


def test_changelog_keeps_its_form():
    text = read("CHANGELOG.md")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE)[0] == "[Unreleased]"
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_licence_is_named_alike_everywhere():
    assert read("LICENSE").strip().startswith("Apache License\n                           Version 2.0, January 2004")
    project = read("pyproject.toml")
    assert 'license = "Apache-2.0"' in project
    assert 'license-files = ["LICENSE"]' in project


def test_pre_commit_runs_the_tools_of_the_environment():
    repos = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    pinned = read("requirements/dev.txt")
    for hook in repos[0]["hooks"]:
        program, *rest = hook["entry"].split()
        tool = rest[rest.index("-m") + 1] if "-m" in rest else Path(program).name
        assert program == f".venv/bin/{Path(program).name}"
        assert tool in ("verify", "python") or re.search(rf"^{tool}==", pinned, re.MULTILINE), tool
        files = [part for part in rest if "/" in part]
        assert files or tool != "python"
        assert all((ROOT / file).exists() for file in files)


# --- the picture ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def picture() -> ModuleType:
    found = importlib.util.spec_from_file_location("picture", ROOT / "docs" / "picture.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_picture_shows_the_edit_and_what_was_found(picture):
    tree = etree.fromstring(picture.PICTURE.read_bytes())
    lines: dict[float, str] = {}
    for text in tree.iter("{*}text"):
        lines[float(text.get("y"))] = lines.get(float(text.get("y")), "") + str(text.text)
    shown = " ".join(" ".join(lines.values()).replace("\xa0", " ").split())
    for part in (picture.FILE, picture.RIGHT, picture.WRONG, f"$ {picture.COMMAND}", "layernorm_pre",
                 "structure equal", "forward different", "the two implementations differ"):  # fmt: skip
        assert part in shown


def test_picture_shows_a_command_that_parses(picture):
    parse(shlex.split(picture.COMMAND)[1:])


def test_picture_loads_nothing_from_elsewhere(picture):
    drawn = picture.PICTURE.read_text(encoding="utf-8")
    assert not re.search(r"url\(['\"]?(?!#)|@font-face|@import|<image|<script|href=", drawn)


def test_picture_can_be_drawn_again(picture, tmp_path):
    number, before, after = picture.edited(tmp_path)
    assert picture.RIGHT in before
    assert picture.WRONG in after
    assert (tmp_path / picture.FILE).read_text(encoding="utf-8").splitlines()[number - 1].strip() == after
