"""The GitHub Action: inputs in, the verifier as a process of its own, annotations, summary, comment and outputs out.

Imports no torch, no model code and nothing of `verify`: it knows the verifier by its command line and its JSON report.
"""
