"""What the controller writes for people while the run goes on, and at its end: metrics, curves, the summary."""

import asyncio
from pathlib import Path

import structlog

from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.publish.task import Publisher
from areal_mesh.controller.replay_link import ReplayLink
from areal_mesh.controller.room import LedgerFull, LedgerRoom
from areal_mesh.controller.run import Run
from areal_mesh.controller.sinks import EvaluationsFile, MetricsFile, read_prepared_seconds, write_summary
from areal_mesh.controller.summary import RunFacts, summarise
from areal_mesh.runtime.disk import is_full
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.views.run_views import EVALUATIONS_FILE, METRICS_FILE, RunViews
from areal_mesh.views.sinks.run_sinks import RunSinks

_LOG = structlog.get_logger("controller")
_LOOK_SECONDS = 5.0


class Reports:
    """Writes `metrics.jsonl`, the views of it, and `summary.json`, in the run's directory.

    Args:
        room: of the ledger, which is given back at the end.
        ending: set when the run is over and `keep_metrics` is to return.
    """

    def __init__(
        self,
        run: Run,
        publisher: Publisher,
        replay: ReplayLink,
        changes: Changes,
        settings: RunSettings,
        room: LedgerRoom,
        ending: asyncio.Event,
    ) -> None:
        self._run = run
        self._publisher = publisher
        self._replay = replay
        self._changes = changes
        self._settings = settings
        self._room = room
        self._ending = ending
        self._directory: Path = settings.run_directory
        self._metrics = MetricsFile(self._directory / METRICS_FILE)
        self._evaluations = EvaluationsFile(self._directory / EVALUATIONS_FILE)
        self._sinks = RunSinks(
            settings.sinks,
            self._directory,
            f"{settings.name}-{round(run.started_at * 1000):x}",
            settings.model_dump(mode="json"),
            lambda text: _LOG.warning("sink", cause=text),
        )
        self._views = RunViews(
            self._directory, lambda text: _LOG.warning("view", cause=text), events=self._sinks.writes_events
        )

    def close(self) -> None:
        """Closes the file of metrics."""
        self._metrics.close()

    @property
    def _complete(self) -> int:
        """The last step whose publish is through, at the latest when the next step is committed."""
        return self._run.version if self._publisher.settled else self._run.version - 1

    async def keep_metrics(self) -> None:
        """Writes a step's line once it is complete."""
        await asyncio.to_thread(self._sinks.start)
        while not self._ending.is_set():
            await self._changes.until(
                lambda: self._ending.is_set() or self._complete > self._metrics.written,
                _LOOK_SECONDS,
                Change.STEPS,
                Change.PUBLISHES,
                Change.STATE,
            )
            self._evaluations.catch_up(self._run.evaluations.rows)
            if self._metrics.catch_up(self._run, self._complete, self._replay.statistics):
                # A launcher reads the lines when it hears of a change.
                self._changes.notify()
                await asyncio.to_thread(self._views.catch_up)
                await asyncio.to_thread(self._sinks.look)

    async def conclude_views(self) -> None:
        """Draws what there is to see of the whole run, and has its trackers send what is left."""
        await asyncio.to_thread(self._views.conclude)
        # Half of the time that a drain has: whoever waits longer for the controller kills it.
        await asyncio.to_thread(self._sinks.close, self._settings.controller.drain_seconds / 2)

    def finish(self) -> None:
        """Writes the end down, with the reserve given back; without room even so, the next life does it."""
        self._room.give_back()
        summary = self._directory / "summary.json"
        try:
            self._run.leave()
            self._run.note_alive()
            self._metrics.catch_up(self._run, self._run.version, self._replay.statistics)
            self._evaluations.catch_up(self._run.evaluations.rows)
            write_summary(summary, summarise(self._facts()))
        except LedgerFull as error:
            _LOG.error("the end of the run is not written; start it again", cause=error.message)
        except OSError as error:
            if not is_full(error):
                raise
            _LOG.error("no summary, for the disk is full; free space and start the run again", file=str(summary))

    def _facts(self) -> RunFacts:
        run, ledger = self._run, self._run.ledger
        return RunFacts(
            name=run.settings.name,
            config=self._settings.model_dump(mode="json"),
            plans=run.settings.stages,
            prepared_seconds=read_prepared_seconds(self._directory / "setup.json"),
            lives=ledger.lives(),
            stages=run.stages,
            steps=list(ledger.steps()),
            publishes=list(ledger.publishes()),
            counts=run.groups.counts,
            generating=ledger.generation_intervals(),
            end_reasons=run.groups.end_reasons,
            group_tokens=run.groups.totals.group_tokens,
            reason_tokens=run.groups.totals.reason_tokens,
            generated_tokens=run.groups.generated_tokens,
            finished=run.finished,
            starts=ledger.member_starts(),
        )
