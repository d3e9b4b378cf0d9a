"""Helpers run from a checkout; never installed."""
