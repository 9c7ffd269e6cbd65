# SPDX-License-Identifier: Apache-2.0
"""The training side of LlavaViT: its own implementation, and a registry of variants.

Importing this package imports no torch; a model's code is imported when one is made.
"""

from .registry import VARIANTS, create_model, list_models

__all__ = ["VARIANTS", "create_model", "list_models"]
