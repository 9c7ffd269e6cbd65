"""Renderings of a Report, one file each."""
