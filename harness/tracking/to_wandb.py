"""Weights & Biases: a project for each study, a run for each stage.

WANDB_MODE, WANDB_PROJECT, WANDB_ENTITY, WANDB_BASE_URL and the login are wandb's own. The id of a run is the stage's id
and eight digits of its record: written twice, it is one run; a stage that was redone is another.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import wandb

from harness.tracking.stage_run import StageRun

MOST_TAG_CHARACTERS, MOST_GROUP_CHARACTERS = 64, 128


def open_study(folder: Path, study: str) -> WandbStudy:
    return WandbStudy(folder, study)


class WandbStudy:
    """A study's project. What is sent, and what waits to be, lies in the tracker's folder."""

    def __init__(self, folder: Path, study: str) -> None:
        self._folder, self._project = folder, os.environ.get("WANDB_PROJECT") or study
        settings = wandb.setup().settings
        if settings.mode == "disabled":
            raise RuntimeError("wandb is disabled (WANDB_MODE); offline keeps runs here, to be synced later")
        self._is_offline = settings.mode in ("offline", "dryrun")
        local = str(folder / "wandb" / "offline-run-*")
        where = local if self._is_offline else f"{settings.base_url}/{settings.entity or ''}"
        self.place = f"{where} project {self._project}"
        self.view = f"wandb sync {shlex.quote(str(folder / 'wandb'))}/offline-run-*" if self._is_offline else where

    def write(self, run: StageRun) -> None:
        for broken in (self._folder / "wandb").glob(f"offline-run-*-{run.key}"):
            shutil.rmtree(broken)
        with wandb.init(
            project=self._project,
            dir=str(self._folder),
            id=run.key,
            name=run.name,
            group=run.group[:MOST_GROUP_CHARACTERS],
            job_type=run.kind,
            tags=[f"{key}={value}"[:MOST_TAG_CHARACTERS] for key, value in run.tags.items()],
            config={**run.facts, **run.parameters, "tag": dict(run.tags)},
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
            ),
        ) as written:
            for step, values in run.by_step():
                written.log({**values, "_timestamp": run.time_of(step)}, step=step)
            written.summary.update({**run.metrics, "_timestamp": run.ended})

    def close(self) -> None:
        wandb.teardown()
