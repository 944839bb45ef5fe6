"""From the bytes of a client's file to raw cells: encoding, form, sheet and header row, each stated with its reason."""
