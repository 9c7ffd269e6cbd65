"""Of which code a self-test was: digests of the verifier, the spec and both sides, to be told from today's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from verify.pair import side_spec
from verify.spec import SideSpec, Spec
from verify.trace import BOTH

VERIFIER = Path(__file__).resolve().parent.parent


def fingerprint(spec: Spec, base: Path) -> dict[str, str]:
    """A digest of each part: verifier, spec, reference and candidate. Paths of the spec count from `base`."""
    parts = {
        "verifier": _digest(VERIFIER, [f for kind in ("*.py", "*.yml") for f in VERIFIER.rglob(kind)]),
        "spec": hashlib.blake2b(spec.model_dump_json().encode(), digest_size=8).hexdigest(),
    }
    for role in BOTH:
        side = side_spec(spec, role)
        parts[role] = _digest(base / side.path, set(_sources(side, (base / side.path).resolve())))
    return parts


def _sources(side: SideSpec, folder: Path) -> Iterator[Path]:
    """Python files that a side may run: of the packages that the spec names; beside a module that is in none."""
    for target in filter(None, (side.config, side.model, side.factory)):
        package = folder / target.partition(":")[0].partition(".")[0]
        yield from package.rglob("*.py") if package.is_dir() else folder.glob("*.py")


def _digest(root: Path, files: Iterable[Path]) -> str:
    """Of names below `root` and contents; a file that cannot be read counts by its name."""
    found = hashlib.blake2b(digest_size=8)
    for name, file in sorted((file.relative_to(root.resolve()).as_posix(), file) for file in files):
        try:
            content = file.read_bytes()
        except OSError:
            content = b""
        found.update(f"{name} {len(content)} ".encode() + content)
    return found.hexdigest()
