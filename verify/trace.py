"""Trace: everything observed of one side, as plain data (JSON and safetensors, never pickle).

A trace is a list of answers. The parent asks (`Ask`), one side answers with a result or a `Fault`; both travel as one
JSON object a line. Arrays travel as safetensors in anonymous memory, whose file descriptor goes with the line. Nothing that
comes back is trusted: what has the wrong form is a fault of the side, not of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

Role = Literal["reference", "candidate"]
FRAMES_SHOWN = 5
LONGEST_LINE_NUMBER = 9
BOTH: tuple[Role, ...] = ("reference", "candidate")
FaultKind = Literal[
    "raised", "import", "setup", "case", "exit", "signal", "timeout", "memory", "disk", "protocol", "not-run"
]
"""raised: by the model itself; on one side alone it proves a difference. import: the code cannot be loaded. setup: what
is asked for cannot be had here. case: the reference's forward does not take what the spec gives it. exit, signal: how
the process ended. disk: no room to write."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One observation that a check wants of the sides.

    key: unique name of the answer in the trace, such as "forward/image".
    op: the observer's operation. args: its arguments, JSON values only.
    sides: who is asked. group: asks of one group use one model, so the runner keeps them together.
    threads: how many the side uses; "" leaves it to the runner. fresh: the side is started anew for it.
    python: another interpreter of the side that answers it, as the spec names it; "" is its own.
    """

    key: str
    op: str
    args: Mapping[str, Any] = field(default_factory=dict)
    sides: tuple[Role, ...] = BOTH
    group: str = ""
    threads: Literal["", "one", "all"] = ""
    fresh: bool = False
    python: str = ""

    @property
    def alone(self) -> bool:
        """Whether one side works while the other has nothing to answer."""
        return len(self.sides) == 1


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why an ask has no result: what model code raised, or how its process ended.

    frames: the user's own frames, innermost last, as "file:line in function".
    missing: the package that an import did not find.
    """

    kind: FaultKind
    type: str = ""
    message: str = ""
    frames: tuple[str, ...] = ()
    missing: str | None = None
    output: str = ""

    def __str__(self) -> str:
        head = f"{self.type}: {self.message}" if self.type else self.message
        last = self.output.strip().rpartition("\n")[2][-300:]
        return (
            head
            + (f" (at {' > '.join(self.frames[-FRAMES_SHOWN:])})" if self.frames else "")
            + (f"; the package {self.missing!r} is not installed for this side's Python" if self.missing else "")
            + (f"; its last words: {last}" if last else "")
        )

    @property
    def location(self) -> tuple[str, int] | None:
        """File and line of the innermost user frame, if there is one."""
        for frame in reversed(self.frames):
            file, _, rest = frame.partition(":")
            number = rest.split(" ", 1)[0]
            if number.isascii() and number.isdigit() and len(number) <= LONGEST_LINE_NUMBER:
                return file, int(number)
        return None

    @classmethod
    def from_wire(cls, data: Any) -> Fault:
        """Reads what a side sent. Unknown keys are dropped, wrong types become text: the side is not trusted."""
        if not isinstance(data, dict):
            return cls(kind="protocol", message="the side answered with something that is no fault")
        kinds: dict[str, FaultKind] = {
            "raised": "raised", "import": "import", "setup": "setup", "case": "case", "memory": "memory", "disk": "disk", "exit": "exit"
        }  # fmt: skip
        frames = data.get("frames")
        missing = data.get("missing")
        return cls(
            kind=kinds.get(str(data.get("kind")), "protocol"),
            type=str(data.get("type", ""))[:200],
            message=str(data.get("message", ""))[:4000],
            frames=tuple(str(f)[:500] for f in frames[:40]) if isinstance(frames, list) else (),
            missing=str(missing)[:200] if missing else None,
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one side answered to one ask: a result or a fault, and the seconds it took.

    arrays: float64, float32 or whole-number arrays by name, where the operation gives any.
    """

    key: str
    result: Mapping[str, Any] | None = None
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    fault: Fault | None = None
    seconds: float = 0.0


@dataclass
class Trace:
    """All answers of one side."""

    role: Role
    answers: dict[str, Answer] = field(default_factory=dict)

    def add(self, answer: Answer) -> None:
        self.answers[answer.key] = answer

    def get(self, key: str) -> Answer:
        """The answer to `key`; one that was never asked is a fault, so that it cannot pass for equal."""
        found = self.answers.get(key)
        return found or Answer(key=key, fault=Fault(kind="not-run", message="this was not observed"))
