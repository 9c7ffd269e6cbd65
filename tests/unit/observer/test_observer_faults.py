"""From an exception in model code to a plain description."""

from __future__ import annotations

import errno
import json

import pytest

from verify.observer import faults
from verify.observer.faults import ImportFailed, Unresolved, Unusable, describe


class Rude(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


def caught(error: BaseException, source: str = "raise error", file: str = "/proj/a.py") -> BaseException:
    """The error with a traceback through `file`."""
    try:
        exec(compile(source, file, "exec"), {"error": error})
    except BaseException as found:
        return found
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("x"), "raised"),
        (AssertionError(), "raised"),
        (Unusable("x"), "setup"),
        (Unresolved("x"), "import"),
        (ImportError("x"), "import"),
        (ModuleNotFoundError("x", name="timm"), "import"),
        (SystemExit(3), "exit"),
        (MemoryError(), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (RuntimeError("CUDA out of memory."), "memory"),
        (RuntimeError("std::bad_alloc"), "memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (OSError(errno.EROFS, "read-only"), "disk"),
        (OSError(errno.ENOENT, "no file"), "raised"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk"),
        (RuntimeError("I/O error (os error 2)"), "raised"),
        (KeyboardInterrupt(), "raised"),
        (Rude(), "raised"),
    ],
)
def test_kinds(error, kind):
    found = describe(caught(error), ["/proj"])
    assert found["kind"] == kind
    json.dumps(found)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("x"), "x"),
        (KeyError("a"), "key 'a' is missing"),
        (SystemExit(3), "the code called sys.exit(3)"),
        (Rude(), "<the message itself raised SystemExit>"),
        (ValueError("x" * 5000), "x" * 4000 + "… [1000 more characters]"),
    ],
)
def test_messages(error, message):
    assert describe(error, [])["message"] == message


def test_describing_never_raises(monkeypatch):
    def broken(error, roots):
        raise MemoryError

    monkeypatch.setattr(faults, "_described", broken)
    found = describe(ValueError("x"), [])
    assert (found["kind"], found["type"], found["message"]) == (
        "memory",
        "ValueError",
        "<describing it raised MemoryError>",
    )


def test_an_import_that_failed_is_told_as_its_cause():
    error = ImportFailed("a:B")
    error.__cause__ = caught(ZeroDivisionError("division"))
    found = describe(error, ["/proj"])
    assert (found["kind"], found["type"], found["message"]) == ("import", "ZeroDivisionError", "division")
    assert found["frames"] == ["a.py:1 in <module>"]


def test_only_the_users_frames_are_shown():
    for file, frames in (
        ("/proj/sub/a.py", ["sub/a.py:1 in <module>"]),
        ("/proj/venv/lib/site-packages/torch/x.py", []),
        ("/project/a.py", []),
        ("/usr/lib/python3/x.py", []),
    ):
        assert describe(caught(ValueError("x"), file=file), ["/proj"])["frames"] == frames


def test_many_frames_keep_the_innermost():
    source = "def f(n):\n    if n:\n        f(n - 1)\n    raise error\nf(50)"
    frames = describe(caught(ValueError("x"), source), ["/proj"])["frames"]
    assert len(frames) == faults.MOST_FRAMES
    assert frames[-1] == "a.py:4 in f"


def test_a_syntax_error_is_where_it_says():
    with pytest.raises(SyntaxError) as error:
        compile("x = (", "/proj/bad.py", "exec")
    assert describe(error.value, ["/proj"])["frames"] == ["bad.py:1 in <module>"]


def wrapped(inner: BaseException, how: str) -> BaseException:
    outer = RuntimeError("wrapped")
    if how == "cause":
        outer.__cause__ = inner
    else:
        outer.__context__ = inner
    return outer


@pytest.mark.parametrize("how", ["cause", "context"])
def test_the_missing_package_is_named_also_when_wrapped(how, tmp_path):
    lost = ModuleNotFoundError("no", name="timm.layers")
    assert describe(lost, [])["missing"] == "timm.layers"
    assert describe(wrapped(lost, how), [])["missing"] == "timm.layers"
    (tmp_path / "timm").mkdir()
    assert describe(lost, [str(tmp_path)])["missing"] is None
    assert describe(ModuleNotFoundError("no", name="own"), [str(tmp_path)])["missing"] == "own"
    (tmp_path / "own.py").touch()
    assert describe(ModuleNotFoundError("no", name="own"), [str(tmp_path)])["missing"] is None


def test_a_suppressed_context_is_not_followed_and_a_circle_ends():
    error = wrapped(ModuleNotFoundError("no", name="timm"), "context")
    error.__suppress_context__ = True
    assert describe(error, [])["missing"] is None
    a, b = ValueError("a"), ValueError("b")
    a.__context__, b.__context__ = b, a
    assert describe(a, [])["missing"] is None
