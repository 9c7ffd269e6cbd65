"""JUnit XML that untrusted code could write: read strictly, written anew; or made here where there is none to trust."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.parsers import expat

from entrypoint import text

LARGEST = 32 * 2**20
ELEMENTS = frozenset(
    [
        "testsuites",
        "testsuite",
        "testcase",
        "failure",
        "error",
        "skipped",
        "system-out",
        "system-err",
        "properties",
        "property",
    ]
)


def checked(data: bytes) -> bytes:
    """The same document, written by us. Raises ValueError for anything but plain JUnit XML: no DTD, no entity."""
    if len(data) > LARGEST:
        raise ValueError(f"longer than {LARGEST} bytes")
    _refuse_declarations(data)
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, RecursionError, LookupError) as error:
        raise ValueError(f"not XML: {error}") from error
    if root.tag not in ("testsuites", "testsuite"):
        raise ValueError("not JUnit")
    for element in root.iter():
        if element.tag not in ELEMENTS:
            raise ValueError("not JUnit")
        element.text = text.clean(element.text, 200_000) if element.text else element.text
        element.tail = element.tail if element.tail is None else " ".join(element.tail.split()) or "\n"
        for key, value in list(element.attrib.items()):
            element.attrib[key] = text.line(value, 8000)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def noted(data: bytes, note: str) -> bytes:
    """A checked document whose first suite says `note`, if there is any; what else suites say of themselves is forged."""
    root = ElementTree.fromstring(data)
    suites = list(root.iter("testsuite"))
    for suite in suites:
        for said in [*suite.findall("system-out"), *suite.findall("system-err")]:
            suite.remove(said)
    for suite in suites[:1] if note else ():
        ElementTree.SubElement(suite, "system-out").text = note
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _refuse_declarations(data: bytes) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type or an entity")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f"not XML: {error}") from error


def broken(reason: str) -> bytes:
    """A document with one error: the run had no verdict."""
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        suites, "testsuite", name="llavavit-verify", tests="1", errors="1", failures="0", skipped="0", time="0"
    )
    case = ElementTree.SubElement(suite, "testcase", name="run", classname="llavavit-verify")
    error = ElementTree.SubElement(case, "error", message=text.line(reason, 2000) or "no verdict", type="error")
    error.text = text.clean(reason, 20_000)
    return bytes(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True))
