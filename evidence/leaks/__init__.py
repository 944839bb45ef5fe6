"""Canaries: marked personal data sent through everything, and searched for wherever none may be."""
