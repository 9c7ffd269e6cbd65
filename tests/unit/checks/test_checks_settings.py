"""settings, from hand-made answers."""

from __future__ import annotations

from typing import Any

import pytest

from verify.checks import settings
from verify.checks.base import Outcome
from verify.report import Verdict
from verify.trace import Fault

OWN = {"file": "model.py", "line": 7, "name": "Block", "own": True}
TORCH = {"file": "torch/nn/modules/dropout.py", "line": 60, "name": "Dropout", "own": False}


def module(path: str, kind: str = "Dropout", library: bool = True, **values: Any) -> dict[str, Any]:
    place = TORCH if library else OWN
    stateful = kind in ("LayerNorm", "Linear", "Block")
    return {
        "path": path, "class": kind, "library": library, "stateful": stateful, "settings": values, "location": place
    }  # fmt: skip


@pytest.fixture
def compare(job, traces):
    def run(left, right, **changes):
        given = job(**changes)
        sides = traces({"settings": {"modules": left}}, {"settings": {"modules": right}})
        outcome, *others = settings.compare(given, *sides)
        alone.update({o.name: o for o in others})
        return outcome

    alone: dict[str, Outcome] = {}
    run.alone = alone  # type: ignore[attr-defined]
    return run


def test_a_rate_of_torchs_own_module_is_a_difference_and_its_holder_is_named(compare):
    root = module("", "Block", library=False)
    outcome = compare([root, module("drop", p=0.1)], [root, module("drop", p=0.2)])
    assert outcome.verdict == Verdict.DIFFERENT
    (finding,) = outcome.findings
    assert (finding.subject, finding.measured, finding.allowed) == ("drop.p", "0.2", "0.1")
    assert finding.candidate.file == "model.py"


@pytest.mark.parametrize(
    "right",
    [
        module("m", "Block", library=False, p=0.2),
        module("m", "AlphaDropout", p=0.2),
    ],
)
def test_between_other_classes_it_is_a_note(compare, right):
    outcome = compare([module("m", p=0.1)], [right])
    assert outcome.verdict == Verdict.EQUAL
    assert [f.verdict for f in outcome.findings] == [Verdict.NOTE]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"p": 0}, {"p": 0.0}),
        ({"bias": True}, {"bias": 1}),
        ({"p": 0.1, "inplace": True}, {"p": 0.1, "inplace": False}),
        ({"p": 0.1, "dim": -1}, {"p": 0.1, "dim": 3}),
        ({"p": 0.1, "more": 1}, {"p": 0.1, "other": 2}),
        ({"p": float("nan")}, {"p": float("nan")}),
        ({"output_size": 1}, {"output_size": [1, 1]}),
        ({"kernel_size": [2, 2]}, {"kernel_size": 2}),
        ({"p": 0.1, "unflattened_size": [2, 4]}, {"p": 0.1, "unflattened_size": [-1, 4]}),
    ],
)
def test_two_ways_to_write_one_thing_are_equal(compare, a, b):
    outcome = compare([module("m", **a)], [module("m", **b)])
    assert outcome.verdict == Verdict.EQUAL
    assert outcome.findings == []
    assert outcome.compared == 1


@pytest.mark.parametrize(
    ("a", "b"), [(None, 0.1), ([1, 1], [1, 2]), ([1], [1, 2]), (1, [1, 2]), ([], None), ("none", "tanh"), (1e-6, 1e-5)]
)
def test_values_of_every_kind_are_told_apart(compare, a, b):
    assert compare([module("m", x=a)], [module("m", x=b)]).verdict == Verdict.DIFFERENT


def held(path: str, kind: str, **more: Any) -> dict[str, Any]:
    return {**module(path, kind, library=more.pop("library", False)), "known": False, "response": None, **more}


def test_activations_of_libraries_go_by_what_they_compute(compare):
    gelu = held("act", "GELU", library=True, known=True, response=[0.0, 1.0])
    same = held("act", "GELUActivation", known=True, response=[0.0, 1.0 + 2.0**-50])
    outcome = compare([gelu], [same])
    assert (outcome.verdict, outcome.findings, outcome.compared) == (Verdict.EQUAL, [], 1)
    outcome = compare([gelu], [held("act", "ReLU", library=True, known=True, response=[0.0, 1.1])])
    assert [(f.kind, f.verdict, f.subject) for f in outcome.findings] == [("class-computes", Verdict.DIFFERENT, "act")]


@pytest.mark.parametrize(
    ("left", "right", "noted"),
    [
        (held("m", "Identity", known=True), held("m", "Mine"), True),
        (held("m", "Theirs"), held("m", "Mine"), False),
        (held("m", "Linear", known=True, stateful=True), held("m", "Mine", stateful=True), False),
        (held("m", "ModuleList", known=True), held("m", "Sequential", known=True), False),
    ],
)
def test_another_class_is_a_note_where_nothing_else_would_tell(compare, left, right, noted):
    same = module("x", p=0.1)
    outcome = compare([left, same], [right, same])
    assert outcome.verdict == Verdict.EQUAL
    assert [(f.kind, f.verdict) for f in outcome.findings] == ([("class-differs", Verdict.NOTE)] if noted else [])


def test_what_own_classes_hold_beside_settings_is_noted(compare):
    left, right = (held("m", "Mine", more={"_scale": value, "fn": "f"}, settings={"p": 1}) for value in ("0.5", "0.25"))
    outcome = compare([left], [right])
    assert outcome.verdict == Verdict.EQUAL
    assert [(f.subject, f.verdict, f.measured) for f in outcome.findings] == [("m._scale", Verdict.NOTE, "0.25")]


def test_a_setting_of_one_side_is_a_note_and_between_classes_of_other_names_not_done(compare):
    left, right = (held("m", "Mine", settings=values) for values in ({"p": 1, "rate": 0.1}, {"p": 1}))
    (finding,) = compare([left], [right]).findings
    assert (finding.kind, finding.subject, finding.verdict) == ("settings-one-side", "m.rate", Verdict.NOTE)
    assert finding.message == "a setting that only the reference has"
    outcome = compare([left], [{**right, "class": "Other"}])
    assert outcome.findings == []
    assert compare.alone["one side"].reason.endswith("of classes with other names: of the reference rate")


def test_modules_are_aligned_by_the_rules_of_the_mapping(compare):
    rules = [
        {"candidate": "blocks.{i}.fused.{p}", "reference": ["layers.{i}.q.{p}", "layers.{i}.k.{p}"]},
        {"candidate": "blocks.{i}.ln.{p}", "reference": "layers.{i}.norm.{p}"},
        {"candidate": "blocks.{rest*}", "reference": "layers.{rest*}"},
    ]
    left = [module("layers.0.norm", "LayerNorm", eps=1e-6), module("layers.0.drop", p=0.1), module("layers.0.q", x=1)]
    right = [
        module("blocks.0.ln", "LayerNorm", eps=1e-5),
        module("blocks.0.drop", p=0.3),
        module("blocks.0.fused", x=2),
    ]
    outcome = compare(left, right, mapping={"parameters": rules})
    assert outcome.compared == 2
    assert {f.subject for f in outcome.findings} == {"layers.0.norm.eps", "layers.0.drop.p"}


def test_what_no_rule_aligns_is_skipped_with_the_reason(compare):
    rules = [{"candidate": "b.{p}", "reference": "missing.{p}"}]
    outcome = compare([module("a", p=0.1)], [module("b", p=0.2)], mapping={"parameters": rules})
    assert outcome.skipped
    assert "mapping" in outcome.reason


def test_what_the_spec_ignores_is_not_compared_and_nothing_left_is_no_success(compare):
    outcome = compare([module("m", p=0.1)], [module("m", p=0.2)], checks={"settings": {"ignore": ["*"]}})
    assert (outcome.compared, outcome.skipped, outcome.verdict) == (0, False, Verdict.ERROR)


def test_a_side_that_raises_is_told(job, traces):
    sides = traces({"settings": {"modules": []}}, {"settings": Fault(kind="raised", type="ValueError", message="no")})
    (outcome,) = settings.compare(job(), *sides)
    assert outcome.verdict == Verdict.DIFFERENT
    assert "no" in outcome.findings[0].message


@pytest.mark.parametrize(
    ("left", "right", "verdicts"),
    [
        ([1e-6, 1e-6], [1e-6, 1e-6], []),
        ([1e-6, 1e-5], [1e-5, 1e-6], []),
        ([1e-6, 1e-6], [1e-6, 1e-5], [Verdict.DIFFERENT]),
        ([1e-6, 1e-6], [1e-6], []),
        ([1e-6, 1e-6], [1e-5], [Verdict.NOTE]),
    ],
)
def test_torchs_modules_that_no_path_aligns_are_compared_together(compare, left, right, verdicts):
    sides = [[module(f"{p}.{i}", "LayerNorm", eps=e) for i, e in enumerate(v)] for p, v in (("a", left), ("b", right))]
    outcome = compare(*sides)
    assert outcome.skipped
    together = compare.alone["classes"]
    assert (together.compared, [f.verdict for f in together.findings]) == (1, verdicts)
    assert {f.subject for f in together.findings} <= {"LayerNorm.eps"}
    assert "alone" not in compare.alone


def test_together_a_rate_that_could_be_a_function_is_a_note_and_a_size_is_the_parameters_to_show(compare):
    left = [module("a", p=0.1), module("a.fc", "Linear", in_features=3, out_features=4)]
    right = [module("b", p=0.2), module("b.fc", "Linear", in_features=3, out_features=12)]
    assert compare(left, right).skipped
    assert [(f.subject, f.verdict) for f in compare.alone["classes"].findings] == [("Dropout.p", Verdict.NOTE)]


def test_modules_without_a_counterpart_are_told(compare):
    root = module("", "Block", library=False, heads=2)
    compare([root, module("a", p=0.1)], [root, module("b", "Block", library=False, heads=3), module("c", "Identity")])
    assert set(compare.alone) == {"alone"}
    told = compare.alone["alone"]
    assert told.skipped
    assert told.reason.endswith("1 of the reference (a) and 1 of the candidate (b)")


def test_a_number_and_a_list_of_it_are_told_apart_in_a_class_of_ones_own(compare):
    sides = [[module("m", "Block", library=False, size=size)] for size in (2, [2, 2])]
    (finding,) = compare(*sides).findings
    assert finding.verdict == Verdict.NOTE


def test_together_a_number_is_a_list_of_it(compare):
    compare([module("a", "LayerNorm", eps=2)], [module("b", "LayerNorm", eps=[2, 2])])
    assert compare.alone["classes"].findings == []


TOLD = {
    "kept whole": ["layers.0", "layers.1"],
    "kept float32": ["norm.weight"],
    "kept float32 (strict)": [],
    "input embeddings": ["words.weight"],
    "output embeddings": None,
    "base_model_prefix": "model",
    "main_input_name": "input_ids",
    "supports": ["_supports_sdpa"],
}


@pytest.fixture
def loading(job, traces):
    """The outcome about what two PreTrainedModels tell of loading; changes are the candidate's."""

    def run(given=TOLD, **changes):
        modules = [module("", "Net", library=False), *(module(f"layers.{i}", "Block", library=False) for i in (0, 1))]
        right = (
            None if changes.pop("plain", False) else {**TOLD, **{k.replace("_", " ", 1): v for k, v in changes.items()}}
        )
        sides = traces(
            {"settings": {"modules": modules, "loading": given}}, {"settings": {"modules": modules, "loading": right}}
        )
        return {o.name: o for o in settings.compare(job(), *sides)}.get("loading")

    return run


def test_what_is_told_of_loading_is_equal(loading):
    outcome = loading()
    assert (outcome.verdict, outcome.compared, outcome.findings) == (Verdict.EQUAL, len(TOLD), [])
    plain = loading(plain=True)
    assert (plain.skipped, plain.compared) == (True, 0), "a plain module tells nothing of it"
    assert "no PreTrainedModel" in plain.reason


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"kept_whole": []}, Verdict.DIFFERENT),
        ({"kept_whole": ["layers.0"]}, Verdict.DIFFERENT),
        ({"kept_whole": [""]}, Verdict.NOTE),  # which holds them
        ({"kept_whole": ["layers.0", "layers.0.mlp", "layers.1"]}, None),  # a module that has no counterpart
        ({"kept_float32": []}, Verdict.DIFFERENT),
        ({"kept_float32": ["norm.weight", "norm.bias"]}, Verdict.DIFFERENT),
        ({"input_embeddings": None}, Verdict.DIFFERENT),
        ({"output_embeddings": ["head.weight"]}, Verdict.NOTE),
    ],
)
def test_what_changes_loading_or_placing_is_a_difference(loading, change, verdict):
    assert [f.verdict for f in loading(**change).findings] == ([verdict] if verdict else [])


def test_what_the_candidate_no_longer_supports_is_a_note(loading):
    given = {**TOLD, "supports": ["_supports_flash_attn", "_supports_sdpa"], "base_model_prefix": "net"}
    assert [f.verdict for f in loading(given).findings] == [Verdict.NOTE] * 2
    assert loading({**TOLD, "supports": []}).findings == []


def switched(job, traces, left, right, **changes):
    """The group of modes, of two sides with two modules whose methods leave this."""
    modules = [module("", "Block", library=False), module("drop", p=0.1)]
    plain = {"left": {"train": [], "eval": []}, "chained": {}}
    sides = ({"settings": {"modules": modules, "modes": {**plain, **modes}}} for modes in (left, right))
    outcomes = settings.compare(job(**changes), *traces(*sides))
    return next((o for o in outcomes if o.name == "modes"), None)


KEPT = {"left": {"train": ["", "drop"], "eval": []}}
LOST = {"chained": {"train": False}}


@pytest.mark.parametrize(
    ("left", "right", "subjects", "verdict"),
    [
        ({}, KEPT, ["(the model)"], Verdict.DIFFERENT),
        (KEPT, {}, ["(the model)"], Verdict.DIFFERENT),
        (KEPT, {"left": {"train": [""], "eval": []}}, ["drop"], Verdict.DIFFERENT),
        ({}, LOST, ["train()"], Verdict.DIFFERENT),
        (LOST, {}, ["train()"], Verdict.EQUAL),
    ],
)
def test_modes_and_what_methods_give_back_are_as_in_the_reference(job, traces, left, right, subjects, verdict):
    outcome = switched(job, traces, left, right)
    assert ([f.subject for f in outcome.findings], outcome.verdict) == (subjects, verdict)
    assert switched(job, traces, left, right, checks={"settings": {"ignore": subjects}}) is None


def test_modes_that_are_alike_are_nothing(job, traces):
    assert switched(job, traces, KEPT, KEPT) is None
    assert switched(job, traces, LOST, {"chained": {"train": False, "half": True}}) is None
    assert switched(job, traces, KEPT, {"left": {"eval": []}}) is None  # its train() needs values
