"""What a side's modules remember between calls."""

from __future__ import annotations

import sys

import pytest

from verify.observer.caches import Caches

SOURCE = """
import functools
import torch

TABLES = {"made at import": torch.ones(1)}
NAMES = {}
calls = []

@functools.lru_cache(maxsize=4)
def bounded(n):
    return [{"table": torch.arange(n) / 3}]

@functools.cache
def free(n):
    return torch.arange(n) / 3

@functools.cache
def registry():
    return {}

def kept(n):
    return TABLES.setdefault(n, (torch.arange(n) / 3,))

class Rotary:
    @staticmethod
    @functools.cache
    def table(n):
        return torch.arange(n) / 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "remembering.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import remembering

    yield remembering
    del sys.modules["remembering"]


def test_tensors_that_are_kept_are_forgotten(module, tmp_path):
    caches = Caches(str(tmp_path))
    functions = [module.bounded, module.free, module.Rotary.table]
    with caches.apart():
        before = [f(3) for f in (*functions, module.kept)]
        assert [f(3) for f in (*functions, module.kept)] == before
    assert all(f.cache_info().currsize == 0 for f in functions)
    assert list(module.TABLES) == ["made at import"]
    module.free(3)
    with caches.apart():
        assert module.free.cache_info().currsize == 0


def test_what_holds_no_tensor_stays(module, tmp_path):
    caches = Caches(str(tmp_path))
    with caches.apart():
        module.registry()["name"] = 1
        module.NAMES["name"] = 1
    assert module.registry() == module.NAMES == {"name": 1}


def test_a_module_that_takes_another_ones_name_is_looked_at(module, tmp_path, monkeypatch):
    caches = Caches(str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "remembering", pytest)
        with caches.apart():
            pass
    module.free(3)
    with caches.apart():
        assert module.free.cache_info().currsize == 0


def test_other_modules_are_left_alone(module, tmp_path):
    module.free(3)
    with Caches(str(tmp_path / "elsewhere")).apart():
        assert module.free.cache_info().currsize == 1
