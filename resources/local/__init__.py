"""Servers on this machine for those who bring none: PostgreSQL and the sandbox."""
