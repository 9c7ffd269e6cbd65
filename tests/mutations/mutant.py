"""What a mutant is: exact replacements in a copy of one file, and what the verifier is expected to say of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODEL = "llavavit/modeling_llava_vit.py"
CONFIGURATION = "llavavit/configuration_llava_vit.py"

Edits = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """A change of source. `edits` are (old, new) texts, all in `file`; each old text must be there exactly once.

    cases: forward cases to run; () is the usual ones, see `gate`.
    """

    name: str
    edits: Edits
    file: str = MODEL
    cases: tuple[str, ...] = ()

    def apply(self, folder: Path) -> None:
        """Write the change into the copy of the package in `folder`. AssertionError where it would change nothing."""
        path = folder / self.file
        text = path.read_text(encoding="utf-8")
        for old, new in self.edits:
            assert text.count(old) == 1, f"{self.name}: {text.count(old)} places in {self.file} read {old!r}"
            assert old != new, f"{self.name}: nothing is replaced"
            text = text.replace(old, new)
        compile(text, self.file, "exec")
        path.write_text(text, encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Fault(Rewrite):
    """A change of behaviour and who must find it.

    check: the check that must report it. subject: glob of the finding's subject. case: a case (or group) that must
    report it; "" if any will do. owner: class that the first divergence must name, in `file`; "" where there is none,
    as for an output that is missing; module: its path.
    """

    check: str = "forward"
    subject: str = "*"
    case: str = ""
    owner: str = ""
    module: str = ""
