"""What a check found, and how Dagster is told. A finding compares two or more figures and says all of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: figures only, never a value of a row."""

    name: str
    passed: bool
    compared: str
    figures: Mapping[str, int]
    blocking: bool

    def to_dagster(self, asset: str) -> dg.AssetCheckResult:
        """As an asset check result; a check that blocks nothing warns."""
        severity = dg.AssetCheckSeverity.ERROR if self.blocking else dg.AssetCheckSeverity.WARN
        return dg.AssetCheckResult(
            asset_key=asset,
            check_name=self.name,
            passed=self.passed,
            severity=severity,
            description=self.compared,
            metadata=dict(self.figures),
        )


def specs(
    asset: str, descriptions: Mapping[str, str], names: Sequence[str], blocking: Collection[str]
) -> list[dg.AssetCheckSpec]:
    """The specs of the checks ``names`` of one asset; those in ``blocking`` stop what comes after in the same run."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=descriptions[name], blocking=name in blocking)
        for name in names
    ]
