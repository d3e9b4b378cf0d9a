"""Durable immutable objects behind one small interface."""
