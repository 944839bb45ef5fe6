"""The engine of payments and notifications: every effect exactly once, both kinds as one stream (LIM-003 to LIM-005)."""
