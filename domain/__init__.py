"""The pure rules: money, rows, states, errors, identities. No framework is imported here."""
