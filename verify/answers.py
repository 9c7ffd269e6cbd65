"""What a side may answer. An answer of another form is an error of that side, never a crash and never equal.

Only what the checks rely on is laid down; more keys may come. With an answer that lists tensors comes one file, whose
descriptor the side hands over: a regular one, holding just these tensors.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import struct
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors.numpy import load

from verify import memory
from verify.trace import Ask

DEEPEST = 60
LARGEST_HEADER = 100 * 2**20
MEMORY_SHARE = 0.5
SURROGATE = re.compile("[\ud800-\udfff]")
FLOATS, WHOLES = frozenset({"F64", "F32"}), frozenset({"I64", "I32", "I16", "I8", "U8", "BOOL"})
BYTES = {"F64": 8, "F32": 4, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

Name = Annotated[str, Field(max_length=2000)]
Count = Annotated[int, Field(ge=0, lt=2**48)]
Shape = Annotated[list[Count], Field(max_length=64)]
Tensors = Mapping[str, tuple[list[int], str]]
"""Shape and dtype of the tensors that an answer lists, by name."""


class Form(BaseModel):
    """Strictly typed; keys beyond these are let through."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=True)


class Place(Form):
    file: Annotated[str, Field(max_length=4096)]
    line: Count
    name: str = ""
    own: bool = False


class Tensor(Form):
    name: Name
    shape: Shape
    dtype: Name


class Parameter(Tensor):
    requires_grad: bool
    marks: dict[Name, str] = {}
    made: Place | None = None


class Buffer(Tensor):
    persistent: bool
    made: Place | None = None
    filled: Place | None = None


class Module(Form):
    path: Name
    kind: Name = Field(alias="class")
    stateful: bool
    location: Place | None


class Made(Module):
    made: Place | None = None


class Structure(Form):
    parameters: list[Parameter]
    buffers: list[Buffer]
    order: list[Name]
    tied: list[list[Name]]
    modules: list[Made]
    location: Place | None

    @model_validator(mode="after")
    def _named_once(self) -> Structure:
        _once("parameters", [e.name for e in self.parameters])
        _once("buffers", [e.name for e in self.buffers])
        _once("order", self.order)
        _once("modules", [m.path for m in self.modules])
        return self


class Making(Form):
    """What is left changed of the process, by setting: before and after, as text."""

    imported: dict[Name, str] = Field(alias="import")
    construction: dict[Name, str]


class Moved(Form):
    """Parameters and buffers of a model that was moved to bfloat16."""

    parameters: list[Tensor]
    buffers: list[Tensor]

    @model_validator(mode="after")
    def _named_once(self) -> Moved:
        _once("parameters", [e.name for e in self.parameters])
        _once("buffers", [e.name for e in self.buffers])
        return self


class Constructed(Form):
    """What making a model changes of its configuration: by entry, before and after."""

    changed: dict[Name, Annotated[list[str], Field(min_length=2, max_length=2)]]
    location: Place | None
    note: str = ""


class Remembered(Form):
    """By buffer, whether it is as in a model that is made alone, and the line that wrote it."""

    buffers: dict[Name, bool]
    made: dict[Name, Place | None]


class Output(Form):
    path: Name
    kind: Literal["tensor", "value", "other"]
    shape: Shape | None = None
    dtype: Name | None = None
    value: bool | int | float | str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Output:
        if self.kind == "tensor" and (self.shape is None or self.dtype is None):
            raise ValueError(f"the tensor {self.path!r} has no shape or no dtype")
        return self


class Forward(Form):
    outputs: list[Output]
    container: Name
    ordered: bool
    containers: dict[Name, Name] = {}
    exact: bool = True
    lifted: Count = 0
    note: str = ""
    left: dict[Name, str] = {}
    written: list[Name] = []
    shared: dict[Name, Name] = {}
    tracked: list[Name] = []
    advanced: list[Name] = []
    configured: list[Name] = []
    entries: list[Name] = []

    @model_validator(mode="after")
    def _named_once(self) -> Forward:
        _once("outputs", [o.path for o in self.outputs])
        return self


class Mixed(Form):
    operation: Name
    location: Place | None


class Device(Form):
    """Whether a pass on another device is given tensors of two; why it did not end."""

    mixed: Mixed | None
    stopped: str


class Fingerprint(Form):
    shape: Shape
    norm: float
    sums: Annotated[list[float], Field(min_length=3, max_length=3)]
    projections: Annotated[list[float], Field(min_length=4, max_length=4)]


class Call(Form):
    path: Name
    index: Count
    kind: Name = Field(alias="class")
    parent: Count | None
    order: Count
    inputs: list[Fingerprint]
    outputs: list[Fingerprint]
    location: Place | None
    own_location: Place | None


class Modules(Form):
    calls: list[Call]
    ran: list[bool]

    @model_validator(mode="after")
    def _in_order(self) -> Modules:
        for place, call in enumerate(self.calls):
            if call.order != place or (call.parent is not None and call.parent >= place):
                raise ValueError(f"call {place} is out of order")
        _once("calls", [(c.path, c.index) for c in self.calls])
        return self


Setting = bool | int | float | str | None


class Held(Module):
    library: bool
    known: bool = False
    response: Annotated[list[float], Field(max_length=64)] | None = None
    settings: dict[Name, Setting | list[Setting]]
    more: dict[Name, Name] = {}
    made: dict[Name, Place | None] = {}


class Loading(Form):
    """What a model tells transformers; see `observer/loading.py`."""

    kept_whole: Annotated[list[Name], Field(alias="kept whole")]
    kept_float32: Annotated[list[Name], Field(alias="kept float32")]
    kept_strictly: Annotated[list[Name], Field(alias="kept float32 (strict)")]
    input_embeddings: Annotated[list[Name] | None, Field(alias="input embeddings")]
    output_embeddings: Annotated[list[Name] | None, Field(alias="output embeddings")]
    base_model_prefix: str
    main_input_name: str
    supports: list[Name]


class Modes(Form):
    """What methods of a side's own leave; see `observer/modes.py`."""

    left: dict[Name, list[Name]]
    chained: dict[Name, bool]


class Settings(Form):
    modules: list[Held]
    loading: Loading | None = None
    modes: Modes | None = None

    @model_validator(mode="after")
    def _named_once(self) -> Settings:
        _once("modules", [m.path for m in self.modules])
        return self


class Argument(Form):
    name: Name
    kind: Name
    default: str


class Method(Form):
    name: Name
    kind: Name
    arguments: list[Argument] | None
    location: Place | None

    @model_validator(mode="after")
    def _named_once(self) -> Method:
        _once("arguments", [a.name for a in self.arguments or ()])
        return self


class Signature(Form):
    arguments: list[Argument]
    methods: list[Method]
    location: Place | None

    @model_validator(mode="after")
    def _named_once(self) -> Signature:
        _once("arguments", [a.name for a in self.arguments])
        _once("methods", [m.name for m in self.methods])
        return self


class Tail(Form):
    """The largest absolute values of a parameter."""

    first: Annotated[float, Field(gt=0)]
    ranked: Annotated[float, Field(gt=0)]
    rate: Annotated[float, Field(ge=0)]
    distinct: Count


class Drawn(Tensor):
    """One parameter as it was initialised. digest: of every bit."""

    count: Count
    mean: float
    spread: Annotated[float, Field(ge=0)]
    kurtosis: Annotated[float, Field(ge=0)]
    lowest: float
    highest: float
    zeros: Count
    ones: Count = 0
    repeats: Count = 0
    tail: Tail | None = None
    rows: float | None = None
    finite: bool
    steady: bool
    digest: Name
    held: Name = ""


class Initialisation(Form):
    parameters: list[Drawn]

    @model_validator(mode="after")
    def _named_once(self) -> Initialisation:
        _once("parameters", [p.name for p in self.parameters])
        return self

    @property
    def tables(self) -> list[Drawn]:
        """Those that are neither drawn nor one value throughout; their values come with the answer."""
        return [p for p in self.parameters if p.steady and p.lowest != p.highest]


class Lacking(Initialisation):
    """What fills the tensors that a checkpoint lacks; told and changed: names."""

    told: list[Name]
    unexpected: list[Name] | None = None
    changed: list[Name]


class Draw(Form):
    op: Name
    size: Count
    keep: float | None
    location: Place | None
    masked: Annotated[list[float], Field(min_length=3, max_length=3)] | None = None


class Training(Forward):
    draws: list[Draw]
    even_draws: list[Draw] = []


Fields = dict[Name, dict[Name, Annotated[list[float], Field(min_length=9, max_length=9)] | None]]


class Gradients(Form):
    fields: Fields
    recomputed: Count
    lifted: Count = 0
    draws: list[Draw]
    even: Fields | None = None
    tried: dict[Name, bool | None] = {}
    even_draws: list[Draw] = []


class Saved(Form):
    tensors: dict[Name, Name]
    saved: dict[Name, Name]
    narrow: dict[Name, Annotated[list[Name], Field(min_length=2, max_length=2)]] = {}
    files: Count = 0
    prefix: str = ""
    auto_map: dict[Name, Name] | None = None
    kind: Name = Field(alias="class")
    frozen: list[Name]
    config: dict[str, Any] | None


class Load(Form):
    tensors: dict[Name, Name]
    dtypes: dict[Name, Name] = {}
    report: dict[Name, list[Name]]
    kind: Name = Field(alias="class")
    remote: bool
    library: bool
    train: list[Name]
    frozen: list[Name]
    config: dict[str, Any] | None
    attention: Any


class Loaded(Form):
    loads: Annotated[list[Load], Field(min_length=1)]
    made: dict[Name, Name] = {}


class State(Form):
    """A state dict that was loaded into another model. lost: what is wrong, by key; takes: saved keys by others."""

    keys: list[Name]
    extra: list[Name]
    lost: dict[Name, Name]
    takes: dict[Name, Name]
    nested: dict[Name, Name] = {}
    unknown: list[Name] = []


class Steps(Form):
    """What became of tensors on their way through a checkpoint."""

    class Tensor(Form):
        written: Place | None
        ended: Place | None
        overrides: dict[Name, Place | None]

    class Whole(Tensor):
        held: bool
        persistent: bool
        tied: list[Name]
        made: Place | None
        state: Name
        file: Name
        loaded: Name
        types: Annotated[list[Name], Field(min_length=3, max_length=3)]
        told: list[Name]

    class Lacking(Tensor):
        kept: Place | None

    tensors: dict[Name, Whole] | dict[Name, Lacking]


class Configuration(Form):
    arguments: list[dict[str, Any]]
    defaults: dict[str, Any]
    explicit: dict[str, Any]
    attributes: dict[str, Any]
    probes: dict[str, Any]
    dictionary_trip: dict[str, Any]
    json_trip: dict[str, Any]
    unusual: dict[str, Any] = {}
    equality: dict[str, Any] = {}
    own_equality: bool = False
    saving: dict[str, Any] = {}
    inherited: dict[str, Any] = {}
    location: Place | None


class Environment(Form):
    python: Name
    packages: dict[str, str | None]


class Target(Form):
    """Where one thing that the spec names was loaded from."""

    place: Place | None
    real: Annotated[str, Field(max_length=4096)]
    name: Name
    outside: bool
    held: bool


class Code(Form):
    targets: dict[Name, Target]
    made: Annotated[str, Field(max_length=8192)]


class Operations(Form):
    """A pass of operations. What it records is read by `divergence.graph`, which trusts it no more than this does."""

    tensors: list[Tensor]


class Preprocessing(Forward):
    """An image made ready: one output."""

    outputs: Annotated[list[Output], Field(min_length=1, max_length=1)]


class Reached(Form):
    """Lines that ran, by file, and modules that were imported."""

    lines: dict[Name, list[Count]]
    modules: list[Name]


FORMS: dict[str, type[Form]] = {
    "environment": Environment,
    "code": Code,
    "configuration": Configuration,
    "structure": Structure,
    "constructed": Constructed,
    "remembered": Remembered,
    "making": Making,
    "moved": Moved,
    "settings": Settings,
    "signature": Signature,
    "initialisation": Initialisation,
    "forward": Forward,
    "copies": Forward,
    "devices": Device,
    "modules": Modules,
    "gradients": Gradients,
    "training": Training,
    "precision": Forward,
    "preprocessing": Preprocessing,
    "save": Saved,
    "load": Loaded,
    "lacking": Lacking,
    "state": State,
    "steps": Steps,
    "operations": Operations,
    "mended": Operations,
    "backward": Operations,
    "rounding": Operations,
    "reached": Reached,
}


def checked(
    ask: Ask, result: dict[str, Any], files: Sequence[int], *, configured: bool
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The result and its arrays, if they are such as `ask` may have. ValueError with the first thing that is wrong.

    files: descriptors that came with it; left open. configured: whether the spec names a configuration class for this
    side.
    """
    result = _tidy(result)
    if ask.op == "configuration" and "absent" in result:
        if configured or result["absent"] is not True:
            raise ValueError("it says that there is no configuration class; the spec names one")
        return result, {}
    form = FORMS.get(ask.op)
    if form is None:
        return result, {}
    try:
        read = form.model_validate(result)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
    if isinstance(read, Structure | Moved):
        return result, _arrays(files, {b.name: (b.shape, b.dtype) for b in read.buffers})
    if isinstance(read, Initialisation):
        return result, _arrays(files, {p.name: (p.shape, p.dtype) for p in read.tables})
    if isinstance(read, Forward):
        tensors = {o.path: (o.shape or [], o.dtype or "") for o in read.outputs if o.kind == "tensor"}
        return result, _arrays(files, tensors)
    if isinstance(read, Operations):
        return result, _arrays(files, {t.name: (t.shape, t.dtype) for t in read.tensors})
    if files:
        raise ValueError("files came with it; expected none")
    return result, {}


def _once(what: str, names: list[Any]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what}: two are called {name!r}")
        seen.add(name)


def _tidy(value: Any, depth: int = 0) -> Any:
    """A copy without lone surrogates, which no file can hold. ValueError where it is nested too deep."""
    if depth > DEEPEST:
        raise ValueError(f"it is nested deeper than {DEEPEST}")
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value) if SURROGATE.search(value) else value
    if isinstance(value, list):
        return [_tidy(v, depth + 1) for v in value]
    if isinstance(value, dict):
        return {_tidy(k): _tidy(v, depth + 1) for k, v in value.items()}
    return value


def _arrays(files: Sequence[int], tensors: Tensors) -> dict[str, NDArray[Any]]:
    """The arrays in the one file that came with an answer; just these. Reads nothing that could block."""
    if len(files) != 1:
        raise ValueError(f"{len(files)} files of arrays came with it; expected 1")
    about = os.fstat(files[0])
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("what came with it is no regular file")
    free = memory.available()
    if free is not None and about.st_size > free * MEMORY_SHARE:
        size, room = about.st_size / 2**30, free / 2**30
        raise ValueError(f"its arrays take {size:.1f} GiB; {room:.1f} GiB of memory are free")
    with open(files[0], "rb", closefd=False) as stream:  # read once: what the side does to it afterwards is its own
        stream.seek(0)
        data = stream.read(about.st_size)
    length = struct.unpack("<Q", data[:8].ljust(8, b"\0"))[0]
    if length > min(LARGEST_HEADER, len(data)):
        raise ValueError("what came with it is no safetensors file")
    _header(json.loads(data[8 : 8 + length]), tensors, len(data) - 8 - length)
    arrays: dict[str, NDArray[Any]] = load(data)
    return arrays


def _header(header: Any, tensors: Tensors, size: int) -> None:
    if not isinstance(header, dict):
        raise ValueError("its arrays' header is no mapping")
    header.pop("__metadata__", None)
    for name in [*tensors, *(n for n in header if n not in tensors)]:
        if name not in header or name not in tensors:
            raise ValueError(
                f"{name!r} is {'in its answer and not in its arrays' if name in tensors else 'only in its arrays'}"
            )
        shape, dtype = tensors[name]
        entry = header[name]
        stored, kind = (entry.get("shape"), entry.get("dtype")) if isinstance(entry, dict) else (None, None)
        right = [*shape, 2] if dtype.startswith("complex") else shape
        if stored != right:
            raise ValueError(f"{name!r} has shape {shape} in its answer and {str(stored)[:200]} in its arrays")
        if kind not in (FLOATS if re.match(r"float|bfloat|complex", dtype) else WHOLES):
            raise ValueError(f"{name!r} is {dtype} in its answer and {str(kind)[:20]} in its arrays")
        size -= math.prod(right) * BYTES[kind]
    if size != 0:
        raise ValueError("its arrays are longer or shorter than its tensors")
