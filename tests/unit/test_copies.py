"""Declared copies: told apart and written anew, by function and by command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from verify import cli, copies, spec

SPEC = {
    "version": 1,
    "reference": {"model": "model:Model"},
    "candidate": {"model": "model:Model"},
    "cases": {"one": {"inputs": {"x": {"shape": [1]}}}},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A spec's folder with an original and its copy, as the working folder."""
    home = tmp_path / "home"
    (home / "new").mkdir(parents=True)
    monkeypatch.chdir(home)
    (home / "original.py").write_bytes(b"a\nb\nc\n")
    (home / "copy.py").write_bytes(b"a\nb\nc\n")
    write_spec(home, {"copy.py": "original.py"})
    return home


def write_spec(folder: Path, declared: dict[str, str]) -> None:
    (folder / "llavavit-verify.yml").write_text(yaml.safe_dump({**SPEC, "copies": declared}))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a\nb\nc\n", None),
        (b"a\nB\nc\n", 2),
        (b"a\nb\n", 3),
        (b"a\nb\nc", 4),
        (b"a\nb\nc\nd\n", 4),
        (b"a\r\nb\r\nc\r\n", 1),
        (b"", 1),
        (b"\xff\x00", 1),
    ],
)
def test_the_first_line_that_differs(folder, text, line):
    (folder / "copy.py").write_bytes(text)
    assert copies.first_difference(folder, "copy.py", "original.py") == line


def test_sync_writes_what_differs_and_only_that(folder, capsys):
    write_spec(folder, {"copy.py": "original.py", "new/er/copy.py": "original.py"})
    (folder / "original.py").chmod(0o755)
    before = (folder / "copy.py").stat().st_ino
    assert cli.app(["sync"]) == 0
    assert (folder / "copy.py").stat().st_ino == before
    assert (folder / "new/er/copy.py").read_bytes() == b"a\nb\nc\n"
    assert (folder / "new/er/copy.py").stat().st_mode & 0o777 == 0o755
    assert "new/er/copy.py: written anew" in capsys.readouterr().out
    assert sorted(p.name for p in (folder / "new/er").iterdir()) == ["copy.py"]


def test_check_writes_nothing(folder, capsys):
    (folder / "copy.py").write_bytes(b"a\n?\nc\n")
    assert cli.app(["sync", "--check"]) == 1
    assert (folder / "copy.py").read_bytes() == b"a\n?\nc\n"
    assert "copy.py: differs from line 2 on" in capsys.readouterr().out
    assert cli.app(["sync"]) == 0
    assert cli.app(["sync", "--check"]) == 0


def test_another_folder_s_spec_counts_from_there(folder, tmp_path, monkeypatch):
    (folder / "copy.py").unlink()
    monkeypatch.chdir(tmp_path)
    assert cli.app(["sync", "--spec", "home/llavavit-verify.yml"]) == 0
    assert (folder / "copy.py").exists()


def test_what_cannot_be_read_or_written_is_told_and_the_rest_is_done(folder, capsys):
    write_spec(folder, {"a.py": "missing.py", "b.py": "new", "original.py/c.py": "copy.py", "z.py": "original.py"})
    (folder / "llavavit-verify.yml").write_text(
        (folder / "llavavit-verify.yml").read_text().replace("z.py: original.py", "z.py: copy.py")
    )
    assert cli.app(["sync"]) == 2
    told = capsys.readouterr().err
    assert "missing.py: cannot be read: No such file" in told
    assert "new: is no file" in told
    assert "original.py/c.py: cannot be" in told
    assert (folder / "z.py").exists()


def test_a_link_that_leads_out_of_the_folder_is_refused(folder, tmp_path, capsys):
    outside = tmp_path / "outside.py"
    outside.write_text("precious")
    (folder / "copy.py").unlink()
    (folder / "copy.py").symlink_to(outside)
    os.symlink(tmp_path, folder / "way")
    write_spec(folder, {"copy.py": "original.py", "way/new.py": "original.py"})
    assert cli.app(["sync"]) == 2
    assert outside.read_text() == "precious"
    assert not (tmp_path / "new.py").exists()
    assert capsys.readouterr().err.count("leads out of") == 2


def test_a_write_that_fails_leaves_the_old_copy_and_nothing_else(folder, monkeypatch):
    (folder / "copy.py").write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(copies.CopyError, match=r"copy\.py: cannot be written: No space left"):
        copies.write(folder, "copy.py", "original.py")
    assert (folder / "copy.py").read_bytes() == b"old"
    assert sorted(p.name for p in folder.iterdir()) == ["copy.py", "llavavit-verify.yml", "new", "original.py"]


@pytest.mark.parametrize(
    "declared",
    [
        {"/etc/passwd": "original.py"},
        {"../copy.py": "original.py"},
        {"copy.py": "../original.py"},
        {"": "original.py"},
        {".": "original.py"},
        {"copy.py": "copy.py"},
        {"copy.py": "./copy.py"},
        {"a.py": "b.py", "b.py": "a.py"},
    ],
)
def test_a_spec_that_leads_out_or_in_circles_is_refused(folder, declared, capsys):
    write_spec(folder, declared)
    with pytest.raises(spec.SpecError, match="copies"):
        spec.load(folder / "llavavit-verify.yml")
    assert cli.app(["sync"]) == 2
    assert "copies" in capsys.readouterr().err


def test_no_copies_is_said(folder, capsys):
    write_spec(folder, {})
    assert cli.app(["sync"]) == 0
    assert "declares no copies" in capsys.readouterr().out
