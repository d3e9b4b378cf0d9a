"""Alembic's migrations of the tracker's schema; `tracker/migrating.py` runs them."""
