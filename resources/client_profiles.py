"""The profiles of clients: one YAML file each, ``<client>.yaml`` in one folder, written by people."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from domain.client_profile import NO_PROFILE, ClientProfile, parse_profile
from domain.errors import FileRefused
from resources.regular_files import open_regular

_MAX_OCTETS = 64_000


class ClientProfiles:
    """The profiles in one folder. Read anew each time: a change holds for the next file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, client: str) -> ClientProfile:
        """The profile of the client with this slug; an empty one where there is none.

        Raises:
            FileRefused: FILE-PROFILE-INVALID.
        """
        path = self.folder / f"{client}.yaml"
        return load_profile(path, client) if os.path.lexists(path) else NO_PROFILE


def load_profile(path: Path, client: str) -> ClientProfile:
    """One profile from its file.

    Raises:
        FileRefused: FILE-PROFILE-INVALID, or the file cannot be opened.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        octets = file.read(_MAX_OCTETS + 1)
    if len(octets) > _MAX_OCTETS:
        raise _refused(client, "-", f"<= {_MAX_OCTETS:,} bytes")
    try:
        stated = yaml.load(octets.decode("utf-8-sig"), _Loader)
    except UnicodeDecodeError:
        raise _refused(client, "-", "UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Its own message quotes the file.
        mark = getattr(error, "problem_mark", None)
        raise _refused(client, "-" if mark is None else f"line {mark.line + 1}", "YAML (key: value)") from None
    return parse_profile(client, {} if stated is None else stated)


def _refused(client: str, key: str, expected: str) -> FileRefused:
    return FileRefused("FILE-PROFILE-INVALID", client=client, key=key, expected=expected)


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # the library has no types
    """Plain data only; a key that stands twice is a mistake, not the last one's victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """One mapping."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen if isinstance(key, yaml.ScalarNode) else True:
                raise yaml.constructor.ConstructorError(problem="key", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return] # the library has no types
