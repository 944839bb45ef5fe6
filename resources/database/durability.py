"""Whether the database keeps what it has confirmed. Without that, a payment could be made twice after a power cut."""

from __future__ import annotations

from sqlalchemy import Connection, text

from domain.errors import SettingRefused

_UNSAFE = text("""select name, setting from pg_settings
                  where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off'
                  order by name""")


def refuse_unsafe(tx: Connection) -> None:
    """To be asked before anything is paid; there is no setting of ours that overrides it.

    Raises:
        SettingRefused: the server, or this session, may lose commits.
    """
    found = tx.execute(_UNSAFE).first()
    if found is not None:
        raise SettingRefused("SYS-DATABASE-UNSAFE", setting=found.name, value=found.setting)
