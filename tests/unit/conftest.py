"""Unit tests: pure functions on small data. `unit_builders` makes the values."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The same examples in every run and no clock: a gate must not turn red on a busy machine.
settings.register_profile(
    "gate", max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gate")
