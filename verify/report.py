"""Report: everything that was found, as one versioned value. Documented in docs/report.md.

`llavavit-verify schema report` prints its JSON schema; the packaged copy is `verify/report.schema.json`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, WithJsonSchema, computed_field, model_validator

from verify.chinese import chinese
from verify.messages import FINDINGS, say

SCHEMA_VERSION = 1

Figure = Annotated[
    float, WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "enum": ["inf", "-inf", "nan"]}]})
]
"""A measured number. JSON has none that is not finite, so the report's JSON says those in words."""


class Verdict(str, Enum):
    """equal: proven alike. note: worth reading, changes nothing. error: could not be decided. different: proven apart.

    In rising weight: a proven difference stands whatever else could not be decided.
    """

    EQUAL = "equal"
    NOTE = "note"
    SKIPPED = "skipped"
    ERROR = "error"
    DIFFERENT = "different"

    @property
    def weight(self) -> int:
        return {"equal": 2, "note": 1, "skipped": 0, "error": 3, "different": 4}[self.value]


EXIT_CODES = {Verdict.EQUAL: 0, Verdict.DIFFERENT: 1, Verdict.ERROR: 2}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a whole from those of its parts. Nothing compared is an error, never equal."""
    top = max(verdicts, key=lambda v: v.weight, default=Verdict.ERROR)
    return Verdict.ERROR if top in (Verdict.NOTE, Verdict.SKIPPED) else top


class Value(BaseModel):
    """A frozen part of the report. Written whole: in the JSON schema of what is written, every key is required.

    Every sentence is held in English and written in Chinese too, under a key that ends with _zh and is made anew each time.
    A key that is not known is an error where the verifier makes a value. In JSON that is read it is passed over, and a kind
    that is not known, or has other details than here, is told in the words of its message: a newer verifier may say more
    under the same schema_version.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)

    @model_validator(mode="before")
    @classmethod
    def _what_is_known(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        ours = {k: v for k, v in data.items() if k not in cls.model_computed_fields}
        if info.mode != "json":
            return ours
        known = {k: v for k, v in ours.items() if k in cls.model_fields}
        if {"kind", "message"} <= known.keys() and not _sayable(known["kind"], known.get("details", {})):
            known |= {"kind": "newer", "details": {"message": known["message"]}}
        return known


def _sayable(kind: Any, details: Any) -> bool:
    """Whether the catalogue has a sentence of that kind that these details fill. What is no kind and no details at all is
    left to be told as such."""
    if (
        not isinstance(kind, str)
        or not isinstance(details, dict)
        or not all(isinstance(v, str) for v in details.values())
    ):
        return True
    try:
        return kind in FINDINGS and bool(say(kind, details, "both"))
    except (LookupError, ValueError):
        return False


class Location(Value):
    """A place in one side's source."""

    file: str = Field(description="Path relative to the side's folder, or from a library's package on.")
    line: int
    name: str = Field(default="", description="Class or function at that line.")
    path: str = Field(default="", description="The file as one opens it where the verifier ran. Empty for a library's.")

    @property
    def at(self) -> str:
        """path:line, or file:line where there is no file to open."""
        return f"{self.path or self.file}:{self.line}"


class Line(Value):
    """A line of source."""

    number: int
    text: str
    marked: bool = False


class Finding(Value):
    """One thing that differs, could not be decided, or is worth a note."""

    check: str
    variant: str
    case: str = Field(description="The comparison group within the check; for forward, the case.")
    subject: str = Field(description="Dotted path of what it is about: a parameter, a module, an output, a key.")
    verdict: Verdict
    kind: str = Field(description="Which message of the catalogue it is; stable across languages.")
    details: dict[str, str] = Field(default_factory=dict, description="What the message is filled with.")
    message: str = Field(description="One line of English.")
    measured: float | str | None = None
    allowed: float | str | None = None
    reference: Location | None = None
    candidate: Location | None = None
    confidence: Literal["confirmed", "aligned", "inferred", "module"] | None = Field(
        default=None,
        description="How sure the place is, where it was sought: as in a divergence. inferred: it was found in another "
        "case, and this one looks the same from outside.",
    )
    hint: str = Field(default="", description="What the place rests on, where it was inferred.")
    excerpts: dict[str, list[Line]] = Field(
        default_factory=dict, description="By side: the source around its place. Of the first findings alone."
    )

    @computed_field(description="The message in Chinese.")  # type: ignore[prop-decorator]
    @property
    def message_zh(self) -> str:
        return say(self.kind, self.details, "zh")

    @computed_field(description="The hint in Chinese.")  # type: ignore[prop-decorator]
    @property
    def hint_zh(self) -> str:
        return chinese(self.hint)


class Group(Value):
    """One comparison group of a check: a JUnit test case."""

    check: str
    variant: str
    name: str
    verdict: Verdict
    compared: int = Field(description="How many values, names or tensors were compared.")
    measured: Figure | None = Field(None, description="Largest relative difference.")
    allowed: Figure | None = Field(None, description="Largest relative difference that was allowed.")
    reason: str = Field("", description="Why that much is allowed, or why there is no verdict.")
    seconds: float = 0.0

    @computed_field(description="The reason in Chinese.")  # type: ignore[prop-decorator]
    @property
    def reason_zh(self) -> str:
        return chinese(self.reason)


class CheckResult(Value):
    """One check over all variants."""

    name: str
    verdict: Verdict
    compared: int
    seconds: float
    reason: str = Field("", description="Why it was skipped or could not be decided.")
    groups: list[Group] = Field(default_factory=list)

    @computed_field(description="The reason in Chinese.")  # type: ignore[prop-decorator]
    @property
    def reason_zh(self) -> str:
        return chinese(self.reason)


class LayerError(Value):
    """How far one layer's output is from the reference's."""

    path: str = Field(description="Module path in the candidate.")
    error: float = Field(description="|candidate - reference| / |reference|, estimated from random projections.")


class Divergence(Value):
    """Where the two implementations first part, as far as is known."""

    check: str
    variant: str
    case: str
    subject: str = Field(description="Module path in the candidate.")
    confidence: Literal["confirmed", "aligned", "module"] = Field(
        description="confirmed: with the reference's value in its place every output agrees. aligned: found by its "
        "values alone. module: only the innermost module whose inputs agree and output does not is known."
    )
    kind: str = Field(
        default="first-module", description="Which message of the catalogue it is; stable across languages."
    )
    message: str
    details: dict[str, str] = Field(default_factory=dict)
    measured: Figure | None = None
    allowed: Figure | None = None
    reference: Location | None = None
    candidate: Location | None = None
    module: Location | None = Field(default=None, description="The candidate's class that the operation is in.")
    operation: str = Field(default="", description="What the candidate computes there, such as aten.mul.Tensor.")
    counterpart: str = Field(default="", description="What the reference computes for it.")
    call: int | None = Field(default=None, description="The first wrong one of the calls of that line, from 0.")
    calls: int | None = Field(default=None, description="How often the line ran.")
    evidence: list[str] = Field(
        default_factory=list,
        description="What was seen: which values agree, and what a trial with the reference's showed.",
    )
    callers: list[Location] = Field(default_factory=list, description="Lines that led there, innermost first.")
    excerpts: dict[str, list[Line]] = Field(default_factory=dict, description="By side: the source around the line.")
    flow: list[str] = Field(default_factory=list, description="What was computed into the operation, nearest first.")
    hints: list[str] = Field(default_factory=list, description="What else helps: a setting, how the functions differ.")
    layers: list[LayerError] = Field(default_factory=list, description="By layer, in the order in which they end.")
    others: list[Divergence] = Field(default_factory=list, description="Independent faults after this one, in order.")

    @computed_field(description="The message in Chinese.")  # type: ignore[prop-decorator]
    @property
    def message_zh(self) -> str:
        return say(self.kind, self.details, "zh")

    @computed_field(description="The evidence in Chinese.")  # type: ignore[prop-decorator]
    @property
    def evidence_zh(self) -> list[str]:
        return [chinese(line) for line in self.evidence]

    @computed_field(description="The hints in Chinese.")  # type: ignore[prop-decorator]
    @property
    def hints_zh(self) -> list[str]:
        return [chinese(hint) for hint in self.hints]


class Skipped(Value):
    """Something that was not done, and why."""

    check: str
    variant: str
    case: str
    reason: str

    @computed_field(description="The reason in Chinese.")  # type: ignore[prop-decorator]
    @property
    def reason_zh(self) -> str:
        return chinese(self.reason)


class Selftest(Value):
    """What a self-test that was run before found of the gate: how many seeded faults it catches."""

    caught: int = Field(description="Faults that were reported, or could not be decided.")
    moved: int = Field(description="Faults that moved a value.")
    false_alarms: int = Field(description="Harmless rewrites that were reported.")
    rewrites: int = Field(description="Harmless rewrites that were run.")
    checks: list[str]
    variant: str
    seed: int
    finished: str = Field(description="When it was run, UTC, ISO 8601.")
    tool_version: str
    packages: dict[str, dict[str, str | None]] = Field(description="By side: versions of torch and others.")
    code: dict[str, str] = Field(description="Digests of the code that it was run on, by part.")
    outdated: list[str] = Field(description="Parts whose code was another: verifier, spec, reference, candidate.")


class Report(Value):
    """The whole result of a run."""

    schema_version: Literal[1] = 1
    tool_version: str
    verdict: Verdict
    seed: int
    variants: list[str]
    sides: dict[str, str] = Field(description="What reference and candidate are: module and class.")
    seconds: float
    checks: list[CheckResult]
    findings: list[Finding]
    first_divergence: Divergence | None
    skipped: list[Skipped]
    environment: dict[str, Any] = Field(description="Per side: interpreter, packages, device, threads.")
    facts: dict[str, dict[str, Any]] = Field(
        description="Per variant: configuration values, parameter count, layers run."
    )
    selftest: Selftest | None = Field(default=None, description="Of the gate, where --selftest names one's result.")

    @property
    def proves(self) -> bool:
        """Whether the forward pass was compared: without it, equal means no more than that nothing was found."""
        return any(check.name == "forward" and check.compared for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0 equal, 1 different, 2 error."""
        return EXIT_CODES[self.verdict]
