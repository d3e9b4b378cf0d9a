"""Mirrors the packages, plus simulation/ and end_to_end/."""
