"""Which models a format is run in."""

from __future__ import annotations

from typing import Any

from verify.observer import precision


class Told:
    """Stands for a Builder: what it was asked to build."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def built(self, values: Any, arithmetic: str, recipes: Any, **more: Any) -> None:
        self.asked.append((arithmetic, *sorted(more.items())))


def test_a_format_shares_its_model_with_no_other():
    """A table that a model keeps from a call in float32 would be read under autocast."""
    told = Told()
    for form in ("fp32", "bf16", "fp16", *precision.AUTOCAST):
        for lifted in (False, True) if form not in precision.AUTOCAST else (False,):
            precision.built_in(told, {"values": {}, "recipes": {}, "format": form, "lifted": lifted})  # type: ignore[arg-type]
    assert len(set(told.asked)) == len(told.asked) == 8
    assert [arithmetic for arithmetic, *_ in told.asked[-2:]] == ["fp32", "fp32"]
