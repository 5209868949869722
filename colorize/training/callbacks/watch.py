"""Watches training: measures some batches, names the state that it is in, and does what was asked for in that state."""

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
    """Return the config's key of a state: ``D wins`` is ``D_wins``."""
    return state.replace(" ", "_").replace("-", "_")


class Watch(Callback):
    """Logs ``diag/*``, names states, and warns, stops or rolls back.

    A look costs a few operations on small tensors. On a GPU what was seen is judged one batch later, so that training
    does not wait for it. Every change of state is a line of the log and a row of ``states.csv``.

    Args:
        dirpath: the run's directory.
        bounds: the fields of `Bounds`.
        every_n_batches: from one look to the next.
        window: looks that a state is judged by.
        grace: batches before colours are judged; weights that were gone back to are as old as they were.
        policy: what to do in each state but ``healthy``, by its key: ``warn``, ``stop`` (training ends, and is scored)
            or ``rollback`` (to the last healthy weights, with lower learning rates); or one word for all.
        lr_factor: that the learning rates of those to blame are multiplied by, in (0, 1).
        max_tries: roll-backs; at the next one training stops.
    Raises:
        UserError: if a state, a policy, a bound or a number will not do.
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
        self._lost = 0  # batches whose steps were undone by roll-backs
        self._looks: deque[dict[str, float]] = deque(maxlen=window)
        self._rows: list[dict[str, Any]] = []
        self._weights: dict[str, Weights] = {}
        self._pending: tuple[Tensor, torch.cuda.Event | None] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on from."""
        kept = {"state": self.state, "counts": dict(self.counts), "tries": self.tries, "lost": self._lost}
        return kept | {"looks": list(self._looks)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.state, self.tries = state_dict["state"], state_dict["tries"]
        self.counts |= state_dict["counts"]  # a state that an older version did not know stays 0
        self._lost = state_dict["lost"]
        self._looks.extend(state_dict["looks"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up the table of an interrupted run, and keep the weights to go back to."""
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
        """Say whether this batch is looked at; if so, note where the weights are."""
        pl_module.observed = pl_module.batches % self.every_n_batches == 0
        if pl_module.observed:
            self._weights = {"G": Weights(pl_module.generator), "D": Weights(pl_module.discriminator)}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure, and judge what has been measured."""
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
        """Judge the last look, and tell what was seen."""
        self._diagnose_pending(trainer, pl_module, act=False)
        if self.healthy:
            self.healthy.drop_candidate(trainer)
        seen = {state: count for state, count in self.counts.items() if count}
        if set(seen) - {HEALTHY}:
            log.info("states seen: %s", ", ".join(f"{state} {count}" for state, count in seen.items()))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Note a loss that was no number, which has ended the run."""
        if isinstance(exception, TrainingDivergedError):
            self.state = DIVERGING
            self._note(trainer, pl_module, Diagnosis(DIVERGING, str(exception).split(":")[0]), "stopped")

    def summary(self) -> dict[str, Any]:
        """Return what ``summary.json`` says of the states."""
        return {"states": self.counts, "state": self.state, "rollbacks": self.tries}

    def _diagnose_pending(self, trainer: Trainer, pl_module: LightningModule, act: bool = True) -> None:
        if self._pending is None:
            return
        values, sent = self._pending
        self._pending = None
        if sent is not None:
            sent.synchronize()
        look = dict(zip(MEASURES, values.tolist(), strict=True))
        self._looks.append(look)
        before, action = self.state, ""
        if len(self._looks) == self.window:  # fewer do not make a state
            sure = pl_module.objective.sure
            found = diagnose(self._looks, self.bounds, sure, pl_module.batches - self._lost > self.grace)
            self.state = found.state
        self.counts[self.state] += 1
        self._log(trainer, pl_module, look)
        if len(self._looks) == self.window:
            changed = self.state != before
            action = self._act(trainer, pl_module, found, changed) if act else ""
            if changed or action:
                self._note(trainer, pl_module, found, action)

    def _log(self, trainer: Trainer, pl_module: LightningModule, look: dict[str, float]) -> None:
        values = {f"diag/{name}": value for name, value in look.items() if not isnan(value)}
        values["diag/state"] = STATES.index(self.state)
        for logger in trainer.loggers:
            logger.log_metrics(values, step=pl_module.batches - 1)  # the step of this batch, from 0

    def _act(self, trainer: Trainer, pl_module: LightningModule, found: Diagnosis, changed: bool) -> str:
        """Do what the policy says; return it in words."""
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
        self._looks.clear()
        self._pending, pl_module.observed = None, False  # looks at steps that are undone
        self.state = HEALTHY
        rates = " and ".join(f"lr_{name}" for name in culprits)
        return f"rolled back to batch {batch}, {rates} x {self.lr_factor} (try {self.tries} of {self.max_tries})"

    def _recover(self, trainer: Trainer, pl_module: LightningModule, complaint: str) -> bool:
        """Go back after a loss that was no number, if a try is left."""
        if self.tries >= self.max_tries:
            return False
        found = Diagnosis(DIVERGING, complaint)
        self.counts[DIVERGING] += 1
        self._note(trainer, pl_module, found, self._roll_back(trainer, pl_module, found.culprits))
        return True

    def _note(self, trainer: Trainer, pl_module: LightningModule, found: Diagnosis, action: str) -> None:
        """Tell a change of state, in the log and in the table."""
        if not trainer.is_global_zero:
            return
        epoch, batch = trainer.current_epoch, pl_module.batches
        level = logging.INFO if found.state == HEALTHY else logging.WARNING
        log.log(level, "epoch %d, batch %d: %s: %s%s", epoch, batch, *found[:2], f"; {action}" if action else "")
        self._rows.append(dict(zip(COLUMNS, (epoch, batch, *found[:2], action), strict=True)))
        write_csv(self.path, COLUMNS, self._rows)


def _to_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Start a copy to main memory; return it, and what tells when it is there, if it is not there yet."""
    if not values.is_cuda:
        return values, None
    copy = torch.empty_like(values, device="cpu", pin_memory=True)
    copy.copy_(values, non_blocking=True)
    return copy, torch.cuda.current_stream().record_event()
