"""The gate measures itself: faults are seeded into the candidate, and the checks must report each of them.

Faults of source text (`expressions`, `statements`) are written into a shadow of the candidate's folder; faults of live
modules (`modules`) are made in the candidate's own process. The reference is observed once.
"""
