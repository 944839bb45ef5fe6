"""Dagster's queue, with a way past it for people, and with the name of whoever asked for a run.

One run per batch and a few in all is right for work, and wrong for what a person does with a batch: pause, continue,
cancel, approve, decide. Those runs take a second and begin at once.

The UI has no users of its own. A run that is asked for over HTTP gets the tag ``launched_by``: the name that the proxy
vouches for (`ui:hanako`), or `ui` where there is no proxy. What somebody wrote into that tag, or what was copied from
another run, never counts. docs/access.md and deploy/proxy have the rest.
"""

import hmac

from dagster import DagsterRun, DagsterRunStatus, QueuedRunCoordinator
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.workspace.context import WorkspaceRequestContext

from assets.boundary import resource_boundary
from domain.errors import OperationRefused
from domain.guards import is_account
from orchestration.job_names import OPERATION_JOBS
from orchestration.settings import Settings

LAUNCHED_BY = "launched_by"
SOMEBODY = "ui"
PERSON_HEADER = "X-Forwarded-User"
SECRET_HEADER = "X-Bulk-Orders-Proxy"
_BACKFILL = "dagster/backfill"  # its tags were given over HTTP, by nobody knows whom


class PeopleFirst(QueuedRunCoordinator):
    """Queues runs like ``QueuedRunCoordinator``; the jobs of people are launched when they are asked for."""

    @property
    def dequeue_interval_seconds(self) -> float:  # type: ignore[override]  # a setting in whole seconds, used as a float
        """Seconds. The daemon looks at its clock twice a second; with 1 the mean wait is 0.25 s longer."""
        return 0.5

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Launch a person's run, queue any other."""
        context = self._in_the_name_of_who_asked(context)
        asked = context.dagster_run
        if asked.job_name not in OPERATION_JOBS or asked.status is not DagsterRunStatus.NOT_STARTED:
            return super().submit_run(context)
        self._instance.launch_run(asked.run_id, context.workspace)
        return self._again(asked.run_id)

    def _in_the_name_of_who_asked(self, context: SubmitRunContext) -> SubmitRunContext:
        run = context.dagster_run
        if _came_over_http(context):
            with resource_boundary():
                name = _who_asked(context, Settings.from_environment().proxy_secret)
        elif LAUNCHED_BY in run.tags or _BACKFILL in run.tags:
            name = SOMEBODY
        else:  # a sensor's or a schedule's, as Dagster's own tags say
            return context
        self._instance.add_run_tags(run.run_id, {LAUNCHED_BY: name})
        return context._replace(dagster_run=self._again(run.run_id))

    def _again(self, run_id: str) -> DagsterRun:
        run = self._instance.get_run_by_id(run_id)
        assert run is not None
        return run


def _came_over_http(context: SubmitRunContext) -> bool:
    workspace = context.workspace
    return isinstance(workspace, WorkspaceRequestContext) and getattr(workspace.source, "headers", None) is not None


def _who_asked(context: SubmitRunContext, secret: str | None) -> str:
    """The actor.

    Raises:
        OperationRefused: SYS-PROXY-NEEDED, somebody came past the proxy; BATCH-PERSON-UNKNOWN, it gave no account.
    """
    if secret is None:
        return SOMEBODY
    shown = context.get_request_header(SECRET_HEADER) or ""
    if not hmac.compare_digest(shown.encode(), secret.encode()):
        raise OperationRefused("SYS-PROXY-NEEDED")
    person = context.get_request_header(PERSON_HEADER) or ""
    if not is_account(person):
        raise OperationRefused("BATCH-PERSON-UNKNOWN")
    return f"{SOMEBODY}:{person}"
