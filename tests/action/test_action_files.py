"""files.py and junit.py: folders and documents that a stranger could write."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from entrypoint import files, junit


def test_a_file_is_written_whole_and_owned_like_the_folder(workspace):
    os.chown(workspace, 1001, 127)
    files.write(workspace, "out/deep/report.json", b"{}")
    made = (workspace / "out/deep/report.json").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (1001, 127, 0o644)
    assert (workspace / "out").stat().st_uid == 1001
    assert files.read(workspace, "out/deep/report.json", 10) == b"{}"
    assert os.listdir(workspace / "out/deep") == ["report.json"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", ".", "a\0b"])
def test_a_path_that_climbs_out_is_refused(workspace, name):
    with pytest.raises(ValueError, match="does not lie"):
        files.write(workspace, name, b"x")


def test_a_link_on_the_way_is_refused_and_one_in_its_place_replaced(workspace, tmp_path):
    (workspace / "out").symlink_to(tmp_path)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        files.write(workspace, "out/x", b"x")
    target = tmp_path / "precious"
    target.write_text("precious")
    (workspace / "report.json").symlink_to(target)
    files.write(workspace, "report.json", b"x")
    assert target.read_text() == "precious"
    assert not (workspace / "report.json").is_symlink()


def test_no_link_pipe_device_or_long_file_is_read(workspace, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (workspace / "link").symlink_to(tmp_path / "secret")
    (workspace / "folder").symlink_to(tmp_path)
    os.mkfifo(workspace / "pipe")
    (workspace / "long").write_bytes(b"x" * 11)
    for name in ("link", "folder/secret"):
        with pytest.raises(OSError, match=r"."):
            files.read(workspace, name, 10)
        assert not files.is_file(workspace, name)
    for name in ("pipe", "long", "llavavit"):
        with pytest.raises((ValueError, OSError)):
            files.read(workspace, name, 10)


def test_junit_is_written_anew():
    given = b'<testsuites><testsuite name="a\xc3\xa9"><testcase name="x"><failure message="m">t</failure></testcase></testsuite></testsuites>'
    root = ElementTree.fromstring(junit.checked(given))
    assert root[0][0][0].get("message") == "m"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not xml",
        b"<testsuites>",
        b"<html/>",
        b"<testsuites><script/></testsuites>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><testsuites>&a;</testsuites>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuites/>',
        b'<!DOCTYPE lolz [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testsuites>&b;</testsuites>',
        b'<testsuites xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/></testsuites>',
        b'<?xml version="1.0" encoding="klingon"?><testsuites/>',
        b"<testsuites>\x00</testsuites>",
        b"<testsuite>" * 100_000,
    ],
)
def test_anything_but_plain_junit_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        junit.checked(data)


def test_a_run_without_a_verdict_is_an_error_with_a_message():
    case = ElementTree.fromstring(junit.broken("it \x00 \ud800 broke <&>"))[0][0]
    assert case[0].tag == "error"
    assert case[0].get("message")


@pytest.mark.parametrize("root", ["<testsuites>{}</testsuites>", "{}"])
def test_a_suite_says_nothing_but_our_note(root):
    given = (
        "<testsuite name='s'><testcase name='c'><system-out>kept</system-out></testcase>"
        "<system-out>✓ no network</system-out><system-out>✓ x</system-out><system-err>forged</system-err></testsuite>"
    )
    written = ElementTree.fromstring(junit.noted(root.format(given).encode(), "✗ no network <&>"))
    said = [part.text for part in written.iter() if part.tag.startswith("system-")]
    assert said == ["kept", "✗ no network <&>"]
    assert next(written.iter("testsuite"))[-1].text == said[-1]
    assert b"x</system-out>" not in junit.noted(root.format(given).encode(), "")


def test_a_document_without_a_suite_stays():
    assert not list(ElementTree.fromstring(junit.noted(b"<testsuites/>", "note")))


def test_control_characters_do_not_pass():
    given = "<testsuite name='a\u202eb'><testcase name='&#27;[31m'/></testsuite>".encode()
    with pytest.raises(ValueError, match="not XML"):  # escape is not even XML 1.0
        junit.checked(given)
    assert b"u202e" in junit.checked("<testsuite name='a\u202eb'/>".encode())


def test_reading_counts_from_the_folder_itself(workspace):
    assert files.is_file(workspace, "llavavit/model.py")
    assert not files.is_file(Path("/nonexistent"), "x")
