"""Cells as Japanese offices write them, read as plain values: only what is certain, and every change with its rule."""
