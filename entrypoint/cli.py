"""`docker run IMAGE run …`: the verifier's command line on the folder mounted at /work, as that folder's owner."""

from __future__ import annotations

import os
import sys
import tempfile

WORK = "/work"


def main(arguments: list[str]) -> int:
    """Becomes the verifier. Files that it writes belong to whoever owns the folder. Returns only on failure."""
    if os.getcwd() == "/" and os.path.isdir(WORK):
        os.chdir(WORK)
    home = tempfile.mkdtemp(prefix="llavavit-verify-home-")
    if os.geteuid() == 0:
        owner = os.stat(".")
        os.chown(home, owner.st_uid, owner.st_gid)
        if owner.st_uid != 0:
            os.setgroups([])
            os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
            os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
    environment = {**os.environ, "HOME": home, "TMPDIR": home, "PYTHONDONTWRITEBYTECODE": "1"}
    os.execve(sys.executable, [sys.executable, "-s", "-P", "-m", "verify", *arguments], environment)
    return 2
