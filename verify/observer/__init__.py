"""The child's end: the only code that imports model code.

It runs in any Python that has torch, numpy and safetensors, so it uses nothing else, and within this package only
`weights`. It is started by path (`__main__.py`), never imported by the parent.
"""
