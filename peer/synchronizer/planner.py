"""Decides what to do from three trees: pure functions over frozen dataclasses, without trio."""
