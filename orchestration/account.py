"""Whose account a command runs under: what the trail says, and what a second person's approval hangs on."""

from __future__ import annotations

import getpass
import os
import sys


def account_name() -> str:
    """The name of the account that the process belongs to, not what a variable of the environment claims."""
    if sys.platform == "win32":
        return getpass.getuser()
    import pwd  # where there are accounts of this kind

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under a number that nobody gave a name
        return f"uid-{os.getuid()}"
