"""Monitors training: measures some batches, diagnoses the state of training, and applies the policy of that state."""

import csv
import logging
from collections import deque
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from colorize.base.checks import at_least, one_of, within
from colorize.base.errors import UserError
from colorize.base.files import write_csv
from colorize.training.callbacks.diagnosis import DIVERGING, HEALTHY, Bounds, Diagnosis, diagnose
from colorize.training.callbacks.observation import MEASURES, Weights, observe
from colorize.training.callbacks.rollback import HealthyCheckpoint
from colorize.training.divergence import TrainingDivergedError
from colorize.vocabulary import STATES

log = logging.getLogger(__name__)

POLICIES = ("warn", "stop", "rollback")
COLUMNS = ("epoch", "batch", "state", "evidence", "action")


def key_of(state: str) -> str:
    """Return the config key of a state: ``D_wins`` for ``D wins``."""
    return state.replace(" ", "_").replace("-", "_")


class Watch(Callback):
    """Logs ``diag/*``, diagnoses the state of training, and warns, stops or rolls back.

    A measurement costs a few operations on small tensors. On a GPU it is read one batch later, so that it does not
    synchronize the device. Every change of state is logged and written to ``states.csv``.

    Args:
        dirpath: the run's directory.
        bounds: the fields of `Bounds`.
        every_n_batches: batches per measurement.
        window: number of last measurements that a diagnosis is based on.
        grace: batches before colors are judged; batches undone by a rollback do not count.
        policy: action in each state except ``healthy``, by the state's key: ``warn``, ``stop`` (training ends and is
            scored) or ``rollback`` (to the last healthy weights, with lower learning rates); or one action for all.
        lr_factor: factor in (0, 1) of the learning rates of the networks that caused a rollback.
        max_tries: maximum number of rollbacks; the next one would stop training.
    Raises:
        UserError: if a state, a policy, a bound or a number is invalid.
    """

    def __init__(
        self,
        dirpath: str,
        bounds: Mapping[str, float],
        every_n_batches: int = 10,
        window: int = 5,
        grace: int = 200,
        policy: Mapping[str, str] | str = "warn",
        lr_factor: float = 0.25,
        max_tries: int = 4,
    ) -> None:
        names = {key_of(state): state for state in STATES if state != HEALTHY}
        given = dict.fromkeys(names, policy) if isinstance(policy, str) else dict(policy)
        for key, what in given.items():
            if key not in names:
                raise UserError(f"unknown state {key!r} in callbacks.watch.policy; choose from {list(names)}")
            one_of(f"callbacks.watch.policy.{key}", what, POLICIES)
        within("callbacks.watch.lr_factor", lr_factor, 0, 1, "()")
        for key, value in (("every_n_batches", every_n_batches), ("window", window)):
            at_least(f"callbacks.watch.{key}", value, 1, whole=True)
        for key, value in (("grace", grace), ("max_tries", max_tries)):
            at_least(f"callbacks.watch.{key}", value, 0, whole=True)
        wrong = {key: value for key, value in bounds.items() if not isinstance(value, int | float)}
        if wrong or set(bounds) != set(Bounds.__dataclass_fields__):
            kinds = ", ".join(Bounds.__dataclass_fields__)
            raise UserError(f"callbacks.watch.bounds must be a number for each of {kinds}; got {dict(bounds)}")
        self.path = Path(dirpath) / "states.csv"
        self.every_n_batches = every_n_batches
        self.window = window
        self.grace = grace
        self.policy = {state: given.get(key, "warn") for key, state in names.items()}
        self.lr_factor = lr_factor
        self.max_tries = max_tries
        self.bounds = Bounds(**bounds)
        self.healthy = HealthyCheckpoint(Path(dirpath) / "checkpoints") if "rollback" in self.policy.values() else None
        self.state = HEALTHY
        self.counts = dict.fromkeys(STATES, 0)
        self.tries = 0
        self._lost = 0  # batches undone by rollbacks
        self._measured: deque[dict[str, float]] = deque(maxlen=window)
        self._rows: list[dict[str, Any]] = []
        self._weights: dict[str, Weights] = {}
        self._pending: tuple[Tensor, torch.cuda.Event | None] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run continues from."""
        kept = {"state": self.state, "counts": dict(self.counts), "tries": self.tries, "lost": self._lost}
        return kept | {"looks": list(self._measured)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        self.state, self.tries = state_dict["state"], state_dict["tries"]
        self.counts |= state_dict["counts"]  # states unknown to an older version stay 0
        self._lost = state_dict["lost"]
        self._measured.extend(state_dict["looks"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read ``states.csv`` of an interrupted run, and save the weights for rollbacks."""
        if pl_module.batches == 0:
            self.path.unlink(missing_ok=True)
        elif self.path.exists():
            with self.path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if (row["batch"] or "").isdigit()]
            self._rows = [row for row in rows if int(row["batch"]) <= pl_module.batches]
        if self.healthy:
            self.healthy.start(trainer, pl_module)
            if self.policy[DIVERGING] == "rollback":
                pl_module.recover = lambda complaint: self._recover(trainer, pl_module, complaint)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Decide whether to measure this batch; if so, copy a sample of the weights."""
        pl_module.observed = pl_module.batches % self.every_n_batches == 0
        if pl_module.observed:
            self._weights = {"G": Weights(pl_module.generator), "D": Weights(pl_module.discriminator)}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure the batch, and diagnose the state from the measurements so far."""
        self._diagnose_pending(trainer, pl_module)
        if not pl_module.observed:
            return
        ratios = {name: weights.update_ratio() for name, weights in self._weights.items()}
        self._weights = {}
        values = observe(pl_module.outcome, batch, pl_module.objective.boundary, ratios)
        if trainer.world_size > 1:  # all processes must do the same
            values = trainer.strategy.reduce(values, reduce_op="mean")
        self._pending = _to_host(values)
        if self._pending[1] is None:
            self._diagnose_pending(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Diagnose the last measurement, and log the states of the run."""
        self._diagnose_pending(trainer, pl_module, act=False)
        if self.healthy:
            self.healthy.drop_candidate(trainer)
        seen = {state: count for state, count in self.counts.items() if count}
        if set(seen) - {HEALTHY}:
            log.info("states seen: %s", ", ".join(f"{state} {count}" for state, count in seen.items()))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Record a non-finite loss, which has ended the run."""
        if isinstance(exception, TrainingDivergedError):
            self.state = DIVERGING
            self._note(trainer, pl_module, Diagnosis(DIVERGING, str(exception).split(":")[0]), "stopped")

    def summary(self) -> dict[str, Any]:
        """Return the entries of ``summary.json``: the states and the number of rollbacks."""
        return {"states": self.counts, "state": self.state, "rollbacks": self.tries}

    def _diagnose_pending(self, trainer: Trainer, pl_module: LightningModule, act: bool = True) -> None:
        if self._pending is None:
            return
        values, sent = self._pending
        self._pending = None
        if sent is not None:
            sent.synchronize()
        measures = dict(zip(MEASURES, values.tolist(), strict=True))
        self._measured.append(measures)
        before, action = self.state, ""
        if len(self._measured) == self.window:  # fewer are too few for a diagnosis
            sure = pl_module.objective.sure
            found = diagnose(self._measured, self.bounds, sure, pl_module.batches - self._lost > self.grace)
            self.state = found.state
        self.counts[self.state] += 1
        self._log(trainer, pl_module, measures)
        if len(self._measured) == self.window:
            changed = self.state != before
            action = self._act(trainer, pl_module, found, changed) if act else ""
            if changed or action:
                self._note(trainer, pl_module, found, action)

    def _log(self, trainer: Trainer, pl_module: LightningModule, measures: dict[str, float]) -> None:
        values = {f"diag/{name}": value for name, value in measures.items() if not isnan(value)}
        values["diag/state"] = STATES.index(self.state)
        for logger in trainer.loggers:
            logger.log_metrics(values, step=pl_module.batches - 1)  # the step of this batch, from 0

    def _act(self, trainer: Trainer, pl_module: LightningModule, found: Diagnosis, changed: bool) -> str:
        """Apply the policy; return a description of the action."""
        if found.state == HEALTHY:
            if self.healthy:
                self.healthy.keep(trainer, pl_module, proven_after=2 * self.window * self.every_n_batches)
            return ""
        policy = self.policy[found.state]
        if policy == "warn":
            if self.healthy:
                self.healthy.drop_candidate(trainer)
            return "warned" if changed else ""
        if policy == "rollback" and self.tries < self.max_tries:
            return self._roll_back(trainer, pl_module, found.culprits)
        trainer.should_stop = True
        return "stopped" + f" after {self.tries} roll-backs" * (policy == "rollback")

    def _roll_back(self, trainer: Trainer, pl_module: LightningModule, culprits: tuple[str, ...]) -> str:
        self.tries += 1
        restored = self.healthy.restore(trainer, pl_module, culprits, self.lr_factor)
        batch = restored["batches"]
        self._lost = restored["callbacks"][self.state_key]["lost"] + pl_module.batches - batch
        self._measured.clear()
        self._pending, pl_module.observed = None, False  # drop measurements of undone steps
        self.state = HEALTHY
        rates = " and ".join(f"lr_{name}" for name in culprits)
        return f"rolled back to batch {batch}, {rates} x {self.lr_factor} (try {self.tries} of {self.max_tries})"

    def _recover(self, trainer: Trainer, pl_module: LightningModule, complaint: str) -> bool:
        """Roll back after a non-finite loss, if a try is left; return whether it did."""
        if self.tries >= self.max_tries:
            return False
        found = Diagnosis(DIVERGING, complaint)
        self.counts[DIVERGING] += 1
        self._note(trainer, pl_module, found, self._roll_back(trainer, pl_module, found.culprits))
        return True

    def _note(self, trainer: Trainer, pl_module: LightningModule, found: Diagnosis, action: str) -> None:
        """Write a change of state to the log and to ``states.csv``."""
        if not trainer.is_global_zero:
            return
        epoch, batch = trainer.current_epoch, pl_module.batches
        level = logging.INFO if found.state == HEALTHY else logging.WARNING
        log.log(level, "epoch %d, batch %d: %s: %s%s", epoch, batch, *found[:2], f"; {action}" if action else "")
        self._rows.append(dict(zip(COLUMNS, (epoch, batch, *found[:2], action), strict=True)))
        write_csv(self.path, COLUMNS, self._rows)


def _to_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Start a copy to host memory; return it with the event that marks its completion, ``None`` if it is complete."""
    if not values.is_cuda:
        return values, None
    copy = torch.empty_like(values, device="cpu", pin_memory=True)
    copy.copy_(values, non_blocking=True)
    return copy, torch.cuda.current_stream().record_event()
