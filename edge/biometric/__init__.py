"""Faces as numbers: reference, probe, template, comparison score (ISO/IEC 2382-37)."""
