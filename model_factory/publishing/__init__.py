# SPDX-License-Identifier: Apache-2.0
"""The steps from a trained checkpoint to a Hub repository that anyone can load.

`checkpoint` reads, `staging` writes the folder, `gate` proves that the folder is what was trained, `hub` uploads it in
one commit and reads it back, `convert` translates names. `upload_llava_vit_to_hf.py`, beside this package, calls them.
"""
