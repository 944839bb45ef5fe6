"""The engine of payments and notifications: each effect exactly once, both kinds as one stream (LIM-005)."""
