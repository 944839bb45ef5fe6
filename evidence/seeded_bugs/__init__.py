"""Bugs planted in the protocol on purpose, one at a time: each must be caught, or the tests are worth nothing."""
