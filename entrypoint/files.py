"""Files in folders that untrusted code could write: no link is followed, nothing outside the folder is touched."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def parts(relative: str) -> tuple[str, ...]:
    """The names of a relative path. Raises ValueError for one that is absolute or climbs out."""
    pure = PurePosixPath(os.path.normpath(relative))
    if "\0" in relative or pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError(f"{relative!r} does not lie in the folder")
    return pure.parts


@contextlib.contextmanager
def _parent(folder: Path, names: tuple[str, ...], make: tuple[int, int] | None = None) -> Iterator[int]:
    """A descriptor of the folder that holds the last name. make: owner of folders that are created on the way."""
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names[:-1]:
            if make is not None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=at)
                    os.chown(name, *make, dir_fd=at, follow_symlinks=False)
            inner = os.open(name, _FOLDER, dir_fd=at)
            os.close(at)
            at = inner
        yield at
    finally:
        os.close(at)


def read(folder: Path, relative: str, most: int) -> bytes:
    """The bytes of a regular file. ValueError if it is longer than `most`, a link, a pipe or a device."""
    names = parts(relative)
    with _parent(folder, names) as at:
        fd = os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        with open(fd, "rb") as stream:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ValueError(f"{relative!r} is no regular file")
            data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{relative!r} is longer than {most} bytes")
    return data


def write(folder: Path, relative: str, data: bytes) -> None:
    """Writes a file whole or not at all, owned like the folder. A link in its place is replaced, one on the way refused."""
    names = parts(relative)
    owner = os.stat(folder)
    owned = (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else (-1, -1)
    with _parent(folder, names, owned) as at:
        draft = f".{secrets.token_hex(8)}.part"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=at)
        try:
            with open(fd, "wb") as stream:
                stream.write(data)
                os.fchown(fd, *owned)
                os.fchmod(fd, 0o644)
            os.replace(draft, names[-1], src_dir_fd=at, dst_dir_fd=at)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft, dir_fd=at)
            raise


def is_file(folder: Path, relative: str) -> bool:
    """Whether a regular file lies there, reached through no link."""
    try:
        names = parts(relative)
        with _parent(folder, names) as at:
            return stat.S_ISREG(os.stat(names[-1], dir_fd=at, follow_symlinks=False).st_mode)
    except (OSError, ValueError):
        return False
