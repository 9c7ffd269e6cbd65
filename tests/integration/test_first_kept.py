"""What does not repeat itself, or was left by an earlier pass, and code without lines: what is said instead of a place."""

from __future__ import annotations

import pytest
from second_pass import LINEARS, PLAIN, source


@pytest.mark.parametrize("plain", [False, True])
def test_a_scripted_module_is_known_as_a_module_only(localise, plain):
    text = """

class Inner(nn.Module):
    def forward(self, x):
        return torch.tanh(x) * FACTOR
"""
    body = "def forward(self, x):\n    return self.second(self.inner(self.first(x)))\n"
    init = LINEARS + "    self.inner = torch.jit.script(Inner())\n"

    def whole(factor: str) -> str:
        return source(body, init).replace("\n\nclass Model", f"{text.replace('FACTOR', factor)}\n\nclass Model")

    reference = whole("2.0").replace("torch.jit.script(Inner())", "Inner()") if plain else whole("2.0")
    found = localise(reference, whole("2.5"), here=False)
    assert (found.kind, found.confidence) == ("first-differs", "module")
    assert found.candidate.name.endswith("forward")
    assert any("scripted" in hint for hint in found.hints)


def test_a_scripted_model_is_known_by_what_made_it(localise):
    text = source(PLAIN).replace("class Model", "class Net")
    made = "\n\ndef Model(width):\n    return torch.jit.script(Net(width))  # here\n"
    found = localise(source(PLAIN), text.replace("torch.tanh", "torch.sin") + made, here=False)
    assert found.confidence == "module"
    assert found.candidate is not None
    assert any("what made it" in hint for hint in found.hints)


def test_a_compiled_module_is_followed_line_by_line(localise):
    body = "def forward(self, x):\n    return self.second(self.inner(self.first(x)))\n"
    init = LINEARS + "    self.inner = torch.compile(Inner(), backend='eager')\n"
    inner = (
        "\n\nclass Inner(nn.Module):\n    def forward(self, x):\n        return torch.tanh(x) * FACTOR\n\n\nclass Model"
    )
    whole = source(body, init).replace("\n\nclass Model", inner)
    found = localise(whole.replace("FACTOR", "2.0"), whole.replace("FACTOR", "2.5  # here"))
    assert found.confidence != "module"
    assert any("without its compiler" in hint for hint in found.hints)


@pytest.mark.parametrize("traced", ["torch.jit.trace(Inner(), torch.randn(2, 5, width))", "torch.jit.script(Inner())"])
def test_a_traced_or_scripted_module_is_what_it_was_made_of(compared, traced):
    text = """

class Inner(nn.Module):
    def forward(self, x):
        return torch.tanh(x) * 2.0 + torch.exp(-x * x) / 3
"""
    body = "def forward(self, x):\n    return self.second(self.inner(self.first(x)))\n"

    def whole(made: str) -> str:
        init = LINEARS + f"    self.inner = {made}\n"
        return source(body, init).replace("\n\nclass Model", f"{text}\n\nclass Model")

    report = compared(whole("Inner()"), whole(traced), checks=("forward",))
    assert report.verdict == "equal"


def test_a_model_that_does_not_repeat_itself_is_not_blamed(localise):
    candidate = PLAIN.replace("torch.tanh(y)", "torch.tanh(y) + torch.rand_like(y)  # here")
    found = localise(source(PLAIN), source(candidate))
    assert found.kind == "first-random"
    assert found.confidence == "module"
    assert "no operation is blamed" in found.message


@pytest.mark.parametrize("drawn", ["__import__('random').random()", "__import__('time').time_ns() % 97"])
def test_other_random_numbers_than_torchs_are_not_denied(compared, drawn):
    candidate = source(PLAIN.replace("torch.tanh(y)", f"torch.tanh(y) * ({drawn})"))
    found = compared(source(PLAIN), candidate, checks=("forward",)).first_divergence
    assert found.kind == "first-stateful"
    assert "draws no random" not in found.message
    assert "clock" in found.message


def test_what_does_not_repeat_is_named_by_the_line_that_keeps_something(localise):
    candidate = source(
        PLAIN.replace("torch.tanh(y)", "torch.tanh(y)\n    self.calls = getattr(self, 'calls', 0) + 1  # here")
    )
    candidate = candidate.replace("return self.second(y)", "return self.second(y * (1 + 0.1 * self.calls))")
    assert "* self.calls" in candidate
    found = localise(source(PLAIN), candidate, checks=("forward",))
    assert (found.kind, found.confidence) == ("first-stateful", "module")
    assert found.hints == ["Model.forward keeps something there, which the next call may read"]


def test_a_table_that_is_kept_too_long_is_named_by_the_line_that_keeps_it(localise):
    candidate = source(PLAIN.replace("torch.tanh(y)", "self.kept.setdefault(y.shape, torch.tanh(y))  # here"))
    candidate = candidate.replace("super().__init__()", "super().__init__()\n        self.kept = {}", 1)
    cases = {name: {"inputs": {"x": {"shape": [3, 5, "width"]}}} for name in ("x", "y")}
    found = localise(source(PLAIN), candidate, cases=cases, checks=("forward",))
    assert (found.kind, found.confidence) == ("first-kept", "aligned")
    assert "an earlier pass left it there" in found.message
