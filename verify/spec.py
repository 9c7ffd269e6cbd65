"""Spec: what is compared with what, read from YAML. Unknown keys are errors with the nearest right one.

The keys are documented in docs/spec.md; `llavavit-verify schema spec` prints their JSON schema.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

PRESET = Path(__file__).parent / "presets" / "llavavit.yml"
DEFAULT_NAME = "llavavit-verify.yml"

TARGET = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"
Target = Annotated[str, Field(pattern=TARGET, description="package.module:Name")]
Size = int | str
Plain = Annotated[dict[str, Any], BeforeValidator(lambda value: _plain(value))]
"""Values that travel to the sides as JSON. A date, a set or a number as a key does not."""

Title = Annotated[str, Field(pattern=r"^[^/\x00-\x1f]{1,100}$", description="A name, part of file names: no slash.")]
MOST_VALUES = 100_000
"""Values in a spec, counted with its aliases written out."""


class SpecError(Exception):
    """The spec cannot be used. The message has a line for each thing that is wrong, with its place and the fix."""


class Misplaced(ValueError):
    """A value that does not fit another one. where: the path of the key that holds it."""

    def __init__(self, message: str, *where: str) -> None:
        super().__init__(message)
        self.where = where


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """That a name is none of the known ones, with the nearest and all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no {what} {name!r}{hint} (there are: {', '.join(known)})"


class Strict(BaseModel):
    """A frozen value in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SideSpec(Strict):
    """One implementation: where its code is, which Python runs it, how its configuration and model are made."""

    path: str = Field(".", description="Folder put first on the import path, relative to the spec's folder.")
    python: str | None = Field(
        None, description="Interpreter that runs this side; default: the one that runs the verifier."
    )
    config: Target | None = Field(
        None, description="Configuration class; called with the variant's values as keywords."
    )
    model: Target | None = Field(
        None, description="Model class; called with the configuration, or the values if there is none."
    )
    factory: Target | None = Field(
        None, description="Function that returns the model, instead of `model`; called alike."
    )
    kwargs: Plain = Field({}, description="More keyword arguments for the model or factory.")
    remote_code: list[str] = Field(
        [], description="Files that AutoModel needs beside a checkpoint of this side, relative to `path`."
    )
    load_with: list[str] = Field(
        [],
        description="More interpreters, given as `python` is, under which a checkpoint of this side is loaded as well.",
    )

    @model_validator(mode="after")
    def _one_maker(self) -> SideSpec:
        if (self.model is None) == (self.factory is None):
            raise ValueError("exactly one of `model` and `factory` is needed")
        return self


class InputSpec(Strict):
    """One tensor of a case, drawn by the parent.

    Sizes are integers or products and sums of integers and configuration values, such as "3*patch_size".
    """

    shape: list[Size] = Field(description='Sizes, such as [1, 3, "2*patch_size", 32].')
    draw: Literal["normal", "uniform", "constant", "integers", "subset", "permutation"] = "normal"
    dtype: Literal["float", "int64", "bool"] | None = Field(
        None, description="Default: float, or int64 for whole-number draws."
    )
    scale: float = Field(
        1.0,
        allow_inf_nan=False,
        description="Float draws are multiplied by this. Standard deviation, half-width or value.",
    )
    offset: float = Field(0.0, allow_inf_nan=False, description="Added to float draws: their middle.")
    below: Size | None = Field(None, description="integers, subset, permutation: values are in [0, below).")
    rows: Literal["different", "same"] = Field("different", description="Whether the rows of a batch draw apart.")

    @model_validator(mode="after")
    def _bounded(self) -> InputSpec:
        whole = self.draw in ("integers", "subset", "permutation")
        if whole and self.below is None:
            raise ValueError(f"draw: {self.draw} needs `below`, the number of values to choose from")
        if not whole and self.below is not None:
            raise ValueError(f"draw: {self.draw} takes no `below`; integers, subset and permutation do")
        if whole and self.dtype not in (None, "int64"):
            raise ValueError(f"draw: {self.draw} gives int64, not {self.dtype}")
        if not self.shape and self.draw in ("subset", "permutation"):
            raise ValueError(f"draw: {self.draw} needs a shape whose last size is how many are chosen")
        return self


class CaseSpec(Strict):
    """One named scenario: tensors to draw, plain forward arguments, configuration overrides."""

    inputs: dict[str, InputSpec] = Field(min_length=1, description="Tensor arguments of forward, by name.")
    arguments: Plain = Field({}, description="Plain forward arguments, such as return_dict: false.")
    config: Plain = Field({}, description="Configuration values for this case only, such as a smaller model.")
    arithmetic: Literal["fp64", "fp32"] = Field("fp64", description="fp64 asks whether it is the same function.")


class ToleranceSpec(Strict):
    """How far outputs may lie apart, as a multiple of the reference's own response to one-ulp noise."""

    multiple: float = Field(
        64.0,
        gt=0,
        le=4096,
        description="Allowed difference over the reference's own response. At most 4096: beyond, faults hide.",
    )
    buffer_ulps: int = Field(4, ge=0, description="Units in the last place that buffer values may lie apart.")


def _as_list_too(schema: dict[str, Any]) -> None:
    """`checks` may also be a list of names, and a check's options may be left empty."""
    schema["type"] = ["object", "array"]
    schema["items"] = {"type": "string"}
    schema["additionalProperties"] = {"anyOf": [schema["additionalProperties"], {"type": "null"}]}


class CheckSpec(Strict):
    """Options of one check."""

    ignore: list[str] = Field([], description="Glob patterns of subjects that are not compared, such as `*.auto_map`.")
    cases: list[str] = Field([], description="Cases that this check runs; default: all of them.")
    config: Plain = Field(
        {}, description="Configuration values for models that this check runs, such as a narrow one; a case's win."
    )
    vary: dict[str, Annotated[list[bool | int | float | str | None], Field(min_length=1)]] = Field(
        {},
        description="Values by name. For `outputs`: forward arguments, tried in every combination. For `backends`: "
        "configuration keys, each value in turn.",
    )


class ParameterRule(Strict):
    """How candidate parameters are made of reference parameters. In names, {name} is one component, {name*} several."""

    candidate: str = Field(description='Names in the candidate, such as "blocks.{i}.attn.qkv.{kind}".')
    reference: str | list[str] = Field(description="Name in the reference, or several to join.")
    axis: int = Field(0, ge=0, description="Axis along which several are joined, or one is cut.")
    part: list[int] | None = Field(
        None, description="[index, count]: this one of so many equal pieces along the axis, counted from 0."
    )
    transpose: bool = Field(False, description="Swap the first two axes.")
    reshape: bool = Field(False, description="Give it the candidate's shape.")

    @model_validator(mode="after")
    def _sensible(self) -> ParameterRule:
        if not self.reference:
            raise ValueError("`reference` names no parameter")
        if self.part is not None and not (len(self.part) == 2 and 0 <= self.part[0] < self.part[1]):
            raise ValueError("`part` is [index, count] with 0 <= index < count")
        known = set(re.findall(r"\{(\w+)\*?\}", self.candidate))
        for pattern in [self.reference] if isinstance(self.reference, str) else self.reference:
            for name in re.findall(r"\{(\w+)\*?\}", pattern):
                if name not in known:
                    raise ValueError(f"{{{name}}} in `reference` is not in `candidate`")
        return self


class ProcessorSpec(Strict):
    """What turns an image into the model's input on one side."""

    make: Target = Field(description="Class or function that gives it when called with `kwargs`, or the thing itself.")
    kwargs: Plain = Field({}, description="Keyword arguments of `make`.")
    arguments: Plain = Field({}, description="Keyword arguments of every call, beside the image.")
    output: str = Field(
        "", description="Where in the result the image is; default: pixel_values, or the result itself."
    )


ImageMode = Literal["RGB", "L", "RGBA", "LA", "P", "CMYK", "I;16", "1"]
Side = Annotated[int, Field(ge=1, le=8192)]


class PreprocessingSpec(Strict):
    """Two processors and the images that go through both. Needs Pillow."""

    reference: ProcessorSpec
    candidate: ProcessorSpec
    sizes: Annotated[list[Annotated[list[Side], Field(min_length=2, max_length=2)]], Field(min_length=1)] = Field(
        [[448, 448], [640, 480], [333, 500], [97, 31], [20, 600], [7, 5]], description="Widths and heights."
    )
    modes: Annotated[list[ImageMode], Field(min_length=1)] = Field(
        ["RGB", "L", "RGBA", "P", "CMYK", "I;16"], description="Pillow's modes."
    )


class MappingSpec(Strict):
    """How the candidate's names follow from the reference's. Names that no rule matches stand for themselves."""

    parameters: list[ParameterRule] = Field(
        [], description="Parameters and buffers; the first rule that matches counts."
    )
    config: dict[str, str] = Field({}, description="Configuration keys, reference: candidate.")
    inputs: dict[str, str] = Field({}, description="Forward arguments, reference: candidate.")
    outputs: dict[str, str] = Field(
        {}, description='Output paths, reference: candidate, such as last_hidden_state: "0". {name} as for parameters.'
    )


class Spec(Strict):
    """Two sides and how they are compared."""

    version: Literal[1]
    reference: SideSpec
    candidate: SideSpec
    variants: dict[Title, Plain] = Field({"default": {}}, min_length=1, description="Configuration values by variant.")
    default_variant: str | None = Field(
        None, description="Variant that is run unless asked otherwise; default: the first."
    )
    depth_key: str | None = Field(None, description="Configuration key that counts layers; --depth sets it.")
    cases: dict[Title, CaseSpec] = Field(min_length=1, description="Input scenarios by name.")
    mapping: MappingSpec = Field(
        default_factory=lambda: MappingSpec.model_validate({}),
        description="Where the candidate names things otherwise.",
    )
    preprocessing: PreprocessingSpec | None = Field(
        None, description="What turns images into inputs on each side, for the check of that name."
    )
    copies: dict[str, str] = Field(
        {}, description="Files that are copies of others, copy: original, both relative to the spec's folder."
    )
    checks: dict[str, CheckSpec] = Field(
        {}, description="Checks to run, with options; default: all of them.", json_schema_extra=_as_list_too
    )
    tolerance: ToleranceSpec = Field(default_factory=lambda: ToleranceSpec.model_validate({}))

    @field_validator("cases", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if not value and (value is None or isinstance(value, dict)):
            raise ValueError("at least one case is needed, such as `image: {inputs: {x: {shape: [1, 3, 32, 32]}}}`")
        return value

    @field_validator("checks", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {name: {} for name in value}
        if isinstance(value, dict):
            return {name: {} if options is None else options for name, options in value.items()}
        return value

    @field_validator("copies")
    @classmethod
    def _inside(cls, value: dict[str, str]) -> dict[str, str]:
        for path in [*value, *value.values()]:
            parts = PurePosixPath(path).parts
            if not parts or path.startswith("/") or ".." in parts or "\0" in path:
                raise ValueError(f"{path!r} is no path of a file below the spec's folder")
        for copy, original in value.items():
            if PurePosixPath(original) in map(PurePosixPath, value):
                raise ValueError(f"{original!r} cannot be both a copy and the original of {copy!r}")
        return value

    @model_validator(mode="after")
    def _known_names(self) -> Spec:
        if self.default_variant is not None and self.default_variant not in self.variants:
            raise Misplaced(unknown("variant", self.default_variant, self.variants), "default_variant")
        for check, options in self.checks.items():
            for case in options.cases:
                if case not in self.cases:
                    raise Misplaced(unknown("case", case, self.cases), "checks", check, "cases")
        return self

    def options(self, check: str) -> CheckSpec:
        """What the spec says of a check; the defaults where it says nothing."""
        return self.checks.get(check) or CheckSpec.model_validate({})

    @property
    def first_variant(self) -> str:
        """The variant that is run unless asked otherwise."""
        return self.default_variant or next(iter(self.variants))


def find(asked: Path | None, folder: Path) -> Path:
    """The spec to use: the one asked for, else llavavit-verify.yml in `folder`, else the built-in preset."""
    if asked is not None:
        return asked
    own = folder / DEFAULT_NAME
    return own if own.exists() else PRESET


def load(path: Path) -> Spec:
    """Reads and validates a spec. Raises SpecError with every fault, its line and the nearest right key."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}; --spec FILE names the spec") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text (byte {error.start})") from error
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            _plain_tree(path, node, {}, set())
        data = loader.construct_document(node) if node is not None else None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SpecError(_syntax(path, error)) from error
    if not isinstance(data, dict):
        raise SpecError(
            f"{path}: a spec is a mapping with the keys {', '.join(Spec.model_fields)}; this is {_kind(data)}"
        )
    try:
        return Spec.model_validate(data)
    except ValidationError as error:
        raise SpecError("\n".join(f"{path}:{place}" for place in _explain(error, node))) from error


def _syntax(path: Path, error: Exception) -> str:
    """What is wrong with the YAML, after file, line and column where they are known."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    parts = [getattr(error, name, None) for name in ("context", "problem")]
    what = ", ".join(part for part in parts if part) or " ".join(str(error).split())
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else f"{path}"
    return f"{place}: not valid YAML: {what}"


def _plain(value: Any, where: str = "") -> Any:
    """The value itself. ValueError where it holds what JSON cannot, such as a date: quoted, it is text."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r}{where} is no text; put it in quotes")
            _plain(item, f" under {key!r}")
    elif isinstance(value, list):
        for item in value:
            _plain(item, where)
    elif not isinstance(value, str | int | float | bool | None):
        raise ValueError(f"{value!r}{where} is a {type(value).__name__}; put it in quotes if text is meant")
    return value


def _kind(data: Any) -> str:
    return "empty" if data is None else f"a {type(data).__name__}"


def _plain_tree(path: Path, node: yaml.Node, sizes: dict[int, int], within: set[int]) -> int:
    """How many values a document has with its aliases written out. SpecError for keys given twice, or endless ones."""
    line = node.start_mark.line + 1
    if id(node) in within:
        raise SpecError(f"{path}:{line}: this value contains itself")
    if id(node) not in sizes:
        within.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _none_twice(path, node)
        inside = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        parts = inside if isinstance(node, yaml.CollectionNode) else []
        sizes[id(node)] = 1 + sum(_plain_tree(path, part, sizes, within) for part in parts)
        within.remove(id(node))
    if sizes[id(node)] > MOST_VALUES:
        raise SpecError(f"{path}:{line}: more than {MOST_VALUES} values, aliases written out")
    return sizes[id(node)]


def _none_twice(path: Path, node: yaml.MappingNode) -> None:
    first: dict[str, int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            line = key.start_mark.line + 1
            if key.value in first:
                raise SpecError(f"{path}:{line}: the key `{key.value}` is here twice, first in line {first[key.value]}")
            first[key.value] = line


def _line(node: yaml.Node | None, where: tuple[Any, ...]) -> int:
    """Line of a path, or of the deepest part of it that the document has."""
    line = 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            found = [(value, value) for value in node.value[part : part + 1]]
        else:
            break
        if not found:
            break
        line, node = found[-1][0].start_mark.line + 1, found[-1][1]
    return line


def _explain(error: ValidationError, node: yaml.Node | None) -> Iterator[str]:
    for fault in error.errors():
        where = fault["loc"][:-1] if fault["loc"][-1:] in (("int",), ("str",)) else fault["loc"]
        where += getattr(fault.get("ctx", {}).get("error"), "where", ())
        line = _line(node, where)
        dotted = ".".join(map(str, where)) or "the spec"
        if fault["type"] == "extra_forbidden":
            yield f"{line}: {dotted}: unknown key{_suggest(str(where[-1]), _siblings(where[:-1]))}"
        elif fault["type"] == "missing":
            yield f"{line}: {dotted}: this key is missing"
        elif isinstance(fault.get("ctx", {}).get("error"), Misplaced):
            yield f"{line}: {dotted}: {fault['ctx']['error']}"
        else:
            given = repr(fault["input"])
            shown = given if len(given) <= 60 else given[:57] + "..."
            message = _form(fault) or re.sub(r"^Value error, ", "", fault["msg"])
            yield f"{line}: {dotted}: {message}; got {shown}"


def _form(fault: Any) -> str:
    """What a text of another form, or something empty, should be; empty for other faults."""
    if fault["type"] == "too_short" and fault["ctx"]["min_length"] == 1:
        return "at least one is needed here"
    if fault["type"] != "string_pattern_mismatch":
        return ""
    if fault["ctx"]["pattern"] != TARGET:
        return "a name has 1 to 100 characters and no slash"
    module, _, name = str(fault["input"]).replace("/", ".").removesuffix(".py").rpartition(".")
    near = f"{module}:{name}"
    return "expected package.module:Name" + (f", such as {near}" if re.fullmatch(TARGET, near) else "")


def _siblings(where: tuple[Any, ...]) -> list[str]:
    """The keys that are allowed at a place."""
    fields: dict[str, type[BaseModel]] = {
        "reference": SideSpec, "candidate": SideSpec, "tolerance": ToleranceSpec, "checks": CheckSpec,
        "mapping": MappingSpec, "preprocessing": PreprocessingSpec,
    }  # fmt: skip
    model: type[BaseModel] = Spec
    if where:
        model = fields.get(str(where[0]), Spec)
        if where[0] == "cases":
            model = InputSpec if len(where) == 4 else CaseSpec
        if where[:2] == ("mapping", "parameters"):
            model = ParameterRule
        if where[0] == "preprocessing" and len(where) > 1:
            model = ProcessorSpec
    return list(model.model_fields)


def _suggest(name: str, right: list[str]) -> str:
    near = difflib.get_close_matches(name, right, n=1, cutoff=0.5)
    return f"; did you mean `{near[0]}`?" if near else f"; the keys here are {', '.join(right)}"
