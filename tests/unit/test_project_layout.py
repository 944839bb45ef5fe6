"""What several files of the project must say alike, and that general package names mean ours."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest
import yaml

from orchestration import dagster_home

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def test_the_code_location_has_one_name_everywhere() -> None:
    """Sensor cursors and run keys hang on it: two names would import every file twice."""
    module = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    project = PROJECT["tool"]["dg"]["project"]

    assert {module["location_name"], project["code_location_name"], dagster_home.LOCATION_NAME} == {"bulk_orders"}
    assert module["module_name"] == project["code_location_target_module"] == "orchestration.definitions"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_with_a_general_name_is_the_one_of_this_repository(package: str) -> None:
    found = importlib.util.find_spec(package)

    assert found is not None
    assert found.origin == str(ROOT / package / "__init__.py")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_file_holds_one_docstring_and_no_second_import_path(package: str) -> None:
    for path in (ROOT / package).rglob("__init__.py"):
        text = path.read_text().strip()

        assert text.startswith('"""'), path
        assert len(text.splitlines()) == 1, path


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_file_knows_no_machine_and_pins_by_hash(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    pinned = [line for line in lines if "==" in line]

    assert lines[1] == "#    make lock"
    assert not [line for line in lines if "://" in line or line.startswith("--") or " @ " in line]
    assert len(pinned) > 90
    assert all(line.endswith("\\") for line in pinned)


def test_everything_that_runs_is_locked_alike_for_development() -> None:
    """The tests must test what people run."""
    runtime, development = (_pins(ROOT / name) for name in ("requirements.lock", "requirements-dev.lock"))

    assert runtime <= development


def _pins(path: Path) -> set[str]:
    return {line.partition(" ")[0] for line in path.read_text().splitlines() if "==" in line}
