"""Faults to seed into the candidate, by the check that must find them.

The classes are those seen in real ports (norm eps, GELU flavour, rotary layout, stale tables, …) and others like them.
Faults that no output, buffer, parameter or configuration value shows are in silent_faults.py; those that show in unusual
uses alone, in unusual_faults.py.
"""

from __future__ import annotations

from configuration_faults import CONFIGURATION_FAULTS, CONTRACT_FAULTS, SIGNATURE_FAULTS, SOURCE_FAULTS
from input_faults import HEAD_FAULTS, INPUT_FAULTS, ROTARY_FAULTS
from layer_faults import ATTENTION_FAULTS, MLP_FAULTS, NORM_FAULTS
from mutant import Fault
from silent_faults import SILENT_FAULTS
from state_faults import DETERMINISM_FAULTS, PROCESS_FAULTS, STATE_FAULTS
from structure_faults import BUFFER_FAULTS, INITIALISATION_FAULTS, SETTING_FAULTS, STRUCTURE_FAULTS
from unusual_faults import UNUSUAL_FAULTS

FAULTS: tuple[Fault, ...] = (
    *CONFIGURATION_FAULTS,
    *STRUCTURE_FAULTS,
    *BUFFER_FAULTS,
    *NORM_FAULTS,
    *ATTENTION_FAULTS,
    *MLP_FAULTS,
    *ROTARY_FAULTS,
    *INPUT_FAULTS,
    *HEAD_FAULTS,
    *STATE_FAULTS,
    *SETTING_FAULTS,
    *SIGNATURE_FAULTS,
    *INITIALISATION_FAULTS,
    *CONTRACT_FAULTS,
    *DETERMINISM_FAULTS,
    *PROCESS_FAULTS,
    *SOURCE_FAULTS,
    *SILENT_FAULTS,
    *UNUSUAL_FAULTS,
)
