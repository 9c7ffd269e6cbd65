"""Sides that answer falsely: errors of that side, never a crash and never equal.

Model code reaches the observer that runs it, so these tests let the candidate change its own answers.
"""

from __future__ import annotations

import pytest

from verify.answers import FORMS, checked
from verify.checks import structure
from verify.explain import explainer
from verify.observer.session import OPERATIONS
from verify.trace import Ask, Trace

HOSTILE = """
import json, socket
observer = sys.modules["_llavavit_verify.observer.session"]
honest = observer._line
def _line(message):
    if message["key"] == {key!r} and "result" in message:
        result = message["result"]
        {code}
    return honest(message)
observer._line = _line
"""


def lie(duo, code: str, key: str = "tiny/forward/trap") -> None:
    """Lets the candidate run `code` on `result`, its own answer to one ask, before it is sent."""
    duo.write("right", head=HOSTILE.format(key=key, code=code.replace("\n", "\n        ")))


ARRAYS = """
pack = observer.pack
def lied(tensors):
    fd = pack(tensors)
    if "y" not in tensors:
        return fd
    data = os.pread(fd, 10**6, 0)
    size = int.from_bytes(data[:8], "little")
    head, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    def written(head, body):
        new, fd = json.dumps(head).encode(), os.memfd_create("lie")
        os.write(fd, len(new).to_bytes(8, "little") + new + body)
        return fd
    {code}
observer.pack = lied
"""


def lie_in_arrays(duo, code: str) -> None:
    """Lets the candidate run `code` in place of what packs its outputs: it returns a file descriptor, or None."""
    head = HOSTILE.format(key="", code="pass") + ARRAYS.format(code=code.replace("\n", "\n    "))
    duo.write("right", head=head)


@pytest.mark.parametrize(
    "code",
    [
        'result["outputs"][0]["shape"] = [float("nan"), 4]',
        'result["outputs"][0]["shape"] = [3.0, 4]',
        'result["outputs"][0]["shape"] = [True, 4]',
        'result["outputs"][0]["shape"] = [10**30, 4]',
        'result["outputs"][0]["shape"] = "3, 4"',
        'result["outputs"][0]["shape"] = [4, 3]',
        'result["outputs"][0]["kind"] = ["tensor"]',
        'result["outputs"][0]["path"] = {}',
        'result["outputs"][0]["dtype"] = None',
        'result["outputs"][0]["dtype"] = "int64"',
        'del result["outputs"][0]["kind"]',
        'result["outputs"] *= 2',
        'result["outputs"].append({"path": "z", "kind": "tensor", "shape": [1], "dtype": "float64"})',
        'result["outputs"] = None',
        'result["outputs"] = 7',
        'result["container"] = 7',
        'del result["outputs"]',
        "result.clear()",
        'result["extra"] = eval("[" * 90 + "]" * 90)',
    ],
)
def test_an_answer_of_a_wrong_form_is_an_error_of_its_side(duo, kept, code):
    lie(duo, code)
    finding = kept(duo.run(), "error")
    assert finding.kind == "fault-run"
    assert "candidate" in finding.message or "data_offsets" in code, finding.message


@pytest.mark.parametrize(
    "code",
    [
        "return None",
        "return os.memfd_create('empty')",
        "return os.open('/dev/zero', os.O_RDONLY)",
        "return os.open('/', os.O_RDONLY)",
        "return os.pipe()[0]",
        "return socket.socketpair()[0].detach()",
        "name = f'{os.environ[\"TMPDIR\"]}/{time.time_ns()}'; os.mkfifo(name); return os.open(name, os.O_RDWR)",
        "fd = os.memfd_create('noise'); os.write(fd, b'\\xff' * 100); return fd",
        "os.truncate(fd, len(data) - 8); return fd",
        "os.truncate(fd, 2**45); return fd",
        "return written(head, body + b'more')",
        "head['y']['shape'] = [4, 3]; return written(head, body)",
        "head['y']['dtype'] = 'BF16'; return written(head, body)",
        "head['y'] = 5; return written(head, body)",
        "head['z'] = head.pop('y'); return written(head, body)",
        "return written([head], body)",
        "head['y']['data_offsets'] = [-8, 10**18]; return written(head, body)",
    ],
)
def test_arrays_of_a_wrong_form_are_an_error_of_their_side(duo, code):
    lie_in_arrays(duo, code)
    report = duo.run()
    verdicts = {g.name: g.verdict.value for g in report.checks[-1].groups}
    assert "equal" not in verdicts.values(), verdicts
    assert report.verdict == "error"
    assert [c.verdict for c in report.checks[:3]] == ["equal"] * 3
    assert all("candidate" in f.message for f in report.findings), report.findings


def test_more_files_than_one_are_an_error_of_their_side(duo):
    code = "honest_send = observer._send\ndef more(channel, line, fd):\n    if fd is not None:\n"
    code += "        socket.send_fds(channel, [line[:1]], [os.open('/dev/null', os.O_RDONLY)] * 3)\n"
    code += "        line = line[1:]\n    honest_send(channel, line, fd)\nobserver._send = more\nreturn fd"
    lie_in_arrays(duo, code)
    report = duo.run()
    assert report.verdict == "error"
    assert any("files of arrays came with it" in f.message for f in report.findings)


def test_outputs_leave_nothing_for_the_other_side_to_copy(duo):
    """Nor may one side read the other's environment or open files, unless it is root."""
    code = "found = [f for _, _, fs in os.walk(os.path.dirname(os.environ['TMPDIR'])) for f in fs]\n"
    code += "left = [f for f in found if f.endswith('.safetensors') and 'inputs' not in f]\n"
    code += "if left: os._exit(9)\nreturn fd"
    lie_in_arrays(duo, code)
    assert duo.run().verdict == "equal"


@pytest.mark.parametrize(
    "bytes_",
    [
        'b"\\n"',
        'b"no json\\n"',
        'b"\\xff\\xfe\\n"',
        'b"[]\\n"',
        'b"NaN\\n"',
        'b"{}\\n"',
        'b"[" * 100_000 + b"\\n"',
        'b\'{"key": \' + b"9" * 10_000 + b"}\\n"',
        "b'{\"result\": {}}\\n'",
        'honest({"key": "tiny/forward/one", "result": message["result"]})',
        'honest({"key": message["key"], "result": [1]})',
        'honest({"key": message["key"], "fault": 5})',
        'b"x" * (65 * 2**20)',
        "honest(message) + honest(message)",
    ],
)
def test_bytes_that_are_no_answer_are_an_error_of_their_side(duo, bytes_):
    lie(duo, f"return {bytes_}")
    report = duo.run()
    verdicts = {g.name: g.verdict.value for g in report.checks[-1].groups}
    assert verdicts.pop("one") == "equal"
    assert "error" in verdicts.values()
    assert set(verdicts.values()) <= {"equal", "error"}
    assert report.verdict == "error"
    assert [c.verdict for c in report.checks[:3]] == ["equal"] * 3
    assert any("unreadable answer" in f.message for f in report.findings)


def test_an_answer_that_never_ends_is_a_time_out(duo, kept):
    lie(duo, "time.sleep(0.2)\nreturn b'x'")
    assert "no answer within 6 s" in kept(duo.run(timeout=6.0), "error").message


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ('result["parameters"] *= 2', "two are called"),
        ('result["parameters"][0]["shape"] = None', "parameters.0.shape"),
        ('result["parameters"][0]["requires_grad"] = "yes"', "requires_grad"),
        ('result["modules"] = {}', "modules"),
        ('result["modules"][0]["location"] = {"file": 1}', "location"),
        ('result["order"] = [1]', "order.0"),
        ('result["tied"] = 3', "tied"),
        ('del result["buffers"]', "buffers"),
        ('result["buffers"] = []', "only in its arrays"),
    ],
)
def test_a_structure_of_a_wrong_form_is_an_error_of_its_side(duo, code, changed):
    lie(duo, code, key="tiny/structure")
    report = duo.run()
    verdicts = {c.name: c.verdict.value for c in report.checks}
    assert verdicts == {"configuration": "equal", "structure": "error", "buffers": "error", "forward": "equal"}
    assert all("candidate did not finish" in f.message and changed in f.message for f in report.findings)


@pytest.mark.parametrize(
    "code",
    [
        "result.clear()",
        'result["absent"] = True',
        'result["defaults"] = 1',
        'result["arguments"] = {}',
        'result["equality"] = "x"',
        'result["saving"] = [1]',
    ],
)
def test_a_configuration_of_a_wrong_form_is_an_error_of_its_side(duo, code):
    lie(duo, code, key="tiny/configuration")
    report = duo.run()
    verdicts = {c.name: c.verdict.value for c in report.checks}
    assert verdicts == {"configuration": "error", "structure": "equal", "buffers": "equal", "forward": "equal"}


def test_whatever_a_side_may_be_asked_has_a_form():
    """Without one the arrays that come with an answer are dropped, and nothing is compared by them."""
    assert set(OPERATIONS) == set(FORMS)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"parameters": 7, "told": [], "changed": []}, "parameters"),
        ({"parameters": [], "told": None, "changed": []}, "told"),
        ({"parameters": [], "told": []}, "changed"),
    ],
)
def test_what_fills_a_checkpoint_is_refused_in_a_wrong_form(result, told):
    with pytest.raises(ValueError, match=told):
        checked(Ask(key="lacking", op="lacking"), result, [], configured=True)


@pytest.mark.parametrize("result", [{}, {"python": "3", "packages": 7}, {"python": 3, "packages": {}}])
def test_an_environment_of_a_wrong_form_is_refused(tmp_path, result):
    with pytest.raises(ValueError, match=r"python|packages"):
        checked(Ask(key="environment", op="environment"), result, tmp_path, configured=True)


@pytest.mark.parametrize(
    "code", ["result.clear()", 'result["calls"] = result["calls"][::-1]', 'result["calls"][0]["parent"] = 9']
)
def test_a_second_pass_of_a_wrong_form_costs_the_module_alone(duo, kept, code):
    duo.write("right", head=HOSTILE.format(key="tiny/forward/trap/modules", code=code), trap="y = y + 1")
    report = duo.run()
    assert kept(report, "different").kind == "output-values"
    assert report.first_divergence.module is None
    assert report.first_divergence.operation == "aten.add.Tensor"


@pytest.mark.parametrize(
    "code",
    ["result.clear()", 'result["operations"] = 1', 'result["values"] = []', 'result["stacks"] = [[["/etc/passwd"]]]'],
)
def test_a_record_of_operations_of_a_wrong_form_costs_the_line_alone(duo, kept, code):
    duo.write("right", head=HOSTILE.format(key="tiny/forward/trap/operations-1", code=code), trap="y = y + 1")
    report = duo.run()
    assert kept(report, "different").kind == "output-values"
    assert report.first_divergence.confidence == "module"


@pytest.mark.parametrize(
    "fault", ['{"kind": ["raised"]}', '{"message": 5, "frames": 7}', '{"kind": "raised", "frames": [[1]]}']
)
def test_a_fault_of_a_wrong_form_is_not_equal(duo, fault):
    lie(duo, f'return honest({{"key": message["key"], "fault": {fault}}})')
    report = duo.run()
    assert {g.name: g.verdict.value for g in report.checks[-1].groups}["trap"] in ("error", "different")
    assert report.verdict != "equal"


def test_text_that_no_file_can_hold_is_replaced(duo):
    lie(duo, 'result["attributes"]["odd"] = "\\ud800\\x1b[31m"', key="tiny/configuration")
    report = duo.run()
    assert report.checks[0].verdict == "different"


def test_a_check_that_breaks_is_told_and_costs_no_other(duo, monkeypatch):
    honest = structure.compare

    def broken(job, reference: Trace, candidate: Trace):
        yield next(honest(job, reference, candidate))
        raise LookupError("never thought of this")

    monkeypatch.setattr(structure, "compare", broken)
    report = duo.run()
    verdicts = {c.name: c.verdict.value for c in report.checks}
    assert verdicts == {"configuration": "equal", "structure": "error", "buffers": "equal", "forward": "equal"}
    assert {g.name: g.verdict.value for g in report.checks[1].groups} == {"parameters": "equal", "answers": "error"}
    (finding,) = report.findings
    assert finding.kind == "check-broke"
    assert "LookupError: never thought of this" in finding.message
    assert "test_bad_answers.py" in finding.message
    assert "in broken)" in finding.message


BOTH_VARIANTS = {"variants": {"tiny": {"width": 4}, "wide": {"width": 6}}}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), AttributeError("x"), MemoryError()])
def test_what_breaks_the_search_for_the_line_costs_the_line_alone(duo, monkeypatch, error):
    def broken(*args: object) -> None:
        raise error

    monkeypatch.setattr(explainer, "save_file", broken)
    duo.write("right", trap="y = y + 1")
    duo.spec(**BOTH_VARIANTS)
    report = duo.run(variants=("all",))
    assert [c.name for c in report.checks] == ["configuration", "structure", "buffers", "forward"]
    assert [(f.variant, f.kind) for f in report.findings] == [("tiny", "output-values"), ("wide", "output-values")]
    assert report.first_divergence.confidence == "module"


def test_an_explainer_that_breaks_costs_no_variant(duo, monkeypatch):
    monkeypatch.setattr(explainer.Explainer, "_found", lambda self, finding: finding.nothing)
    duo.write("right", trap="y = y + 1")
    duo.spec(**BOTH_VARIANTS)
    report = duo.run(variants=("all",))
    assert [(f.variant, f.kind) for f in report.findings] == [("tiny", "output-values"), ("wide", "output-values")]
    assert (report.verdict, report.first_divergence) == ("different", None)


@pytest.mark.parametrize(("code", "confidence"), [("pass", "confirmed"), ('result["cut"] = True', "aligned")])
def test_a_record_that_ends_before_its_run_confirms_nothing(duo, code, confidence):
    duo.write("right", head=HOSTILE.format(key="tiny/forward/trap/operations-1", code=code), trap="y = y * 1.5")
    assert duo.run().first_divergence.confidence == confidence
