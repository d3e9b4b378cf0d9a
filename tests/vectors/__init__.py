"""Golden vectors (scripts/make_vectors.py) and a decoder of its own."""
