"""Dagster's run launcher for one machine, with a health check that notices dead run workers.

The stock launcher cannot tell whether a worker whose code server died with it still lives: such a run stays STARTED for
ever and keeps its slot. Each worker holds a lease (``resources/database/run_lease.py``); a run that neither the code
server knows nor a lease stands for, twice in a row, is dead. When nobody can be asked, it counts as alive: declaring a
live worker dead is the worse mistake.
"""

import logging
from collections.abc import Mapping
from typing import Any, Self

from dagster import DefaultRunLauncher, Field, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData, deserialize_value

from domain.errors import DatabaseUnavailable
from resources.database import run_lease

_log = logging.getLogger("bulk_orders.launcher")
_ANSWER_SECONDS = 5
_CHECKS_UNTIL_DEAD = 2  # one may fall between the end of the worker and the end of its run


class LeaseLauncher(DefaultRunLauncher):
    """Launches like ``DefaultRunLauncher``; ``run_monitoring`` in dagster.yaml asks it about each started run.

    Args:
        lease_url: the database that holds the leases, from the environment in dagster.yaml.
        inst_data: Dagster's own, for loading this class again in other processes.
    """

    def __init__(self, lease_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._lease_url = lease_url
        self._missed: dict[str, int] = {}

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """What dagster.yaml gives."""
        return {"lease_url": Field(StringSource)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Made by Dagster from dagster.yaml."""
        return cls(inst_data=inst_data, **config_value)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: this is what the class is for."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED only when the worker is proven gone by two checks in a row."""
        if self._code_server_knows(run.run_id):
            return self._alive(run.run_id, "known to the code server")
        try:
            if run_lease.is_held(self._lease_url, run.run_id):
                return self._alive(run.run_id, "its lease is held; the code server was restarted meanwhile")
        except DatabaseUnavailable:
            return self._alive(run.run_id, "the database cannot be asked for its lease")
        return self._missing(run.run_id)

    def terminate(self, run_id: str) -> bool:
        """Also a worker that the code server does not know: it stops by itself once its run is called canceled."""
        try:
            if super().terminate(run_id):  # type: ignore[no-untyped-call]
                return True
        except Exception:  # the code server that started it is gone
            _log.info("the code server cannot stop the run %s", run_id)
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or not self._lease_is_held(run_id):
            return False
        self._instance.report_run_canceled(run, message="Its worker stops by itself within a few seconds.")
        return True

    def _lease_is_held(self, run_id: str) -> bool:
        try:
            return run_lease.is_held(self._lease_url, run_id)
        except DatabaseUnavailable:
            return False

    def _code_server_knows(self, run_id: str) -> bool:
        try:
            client = self._get_grpc_client_for_termination(run_id)  # type: ignore[no-untyped-call]
            if client is None:
                return False
            request = CanCancelExecutionRequest(run_id=run_id)
            answer = client.can_cancel_execution(request, timeout=_ANSWER_SECONDS)
            return deserialize_value(answer, CanCancelExecutionResult).can_cancel
        except Exception:  # whatever is wrong with the code server: the lease decides
            return False

    def _alive(self, run_id: str, reason: str) -> CheckRunHealthResult:
        self._missed.pop(run_id, None)
        return CheckRunHealthResult(WorkerStatus.RUNNING, reason)

    def _missing(self, run_id: str) -> CheckRunHealthResult:
        missed = self._missed[run_id] = self._missed.get(run_id, 0) + 1
        if missed < _CHECKS_UNTIL_DEAD:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "not found once; looking again")
        del self._missed[run_id]
        return CheckRunHealthResult(WorkerStatus.FAILED, "the worker is gone: unknown to the code server, no lease")
