"""Resume from a checkpoint: find it, derive the config, list the changes, and refuse those that are not allowed."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from colorize.base.errors import UserError
from colorize.base.files import replacing
from colorize.tracking.loggers import flatten

log = logging.getLogger(__name__)

PLACE = ("ckpt_path", "run_dir")  # paths of a run, which do not define what it trains
ANY_DATA = {
    "root",
    "store_dir",
    "verify",
    "download",
    "flip",
    "augment",
    "batch_size",
    "image_size",
}  # keys of data that do not affect which images are used
OF_AN_EPOCH = ("batch_size", "data.batch_size", "seed", "trainer.devices", "trainer.num_nodes")  # set an epoch's order
MISSING = "???"  # OmegaConf's mark of a missing value
ABSENT = "unset"  # how an absent key is shown
MOVED = (
    "best_within",
    "checkpoints",
    "judged",
    "progress",
    "samples",
    "watch",
)  # since version 0.1, to training.callbacks
NAMED = 3  # maximum number of options named in an error

Changes = dict[str, tuple[Any, Any]]  # key to the value before and after


def find_checkpoint(cfg: DictConfig) -> Path | None:
    """Resolve ``ckpt_path``: a path, or ``last``.

    ``last`` is the last checkpoint of the run's directory. If the directory was chosen on the command line or belongs
    to a sweep and has no checkpoint, the run starts from the beginning, so that one command works for every restart.
    Otherwise the newest checkpoint of the dated runs is used.

    Raises:
        UserError: if there is no checkpoint.
    """
    if cfg.ckpt_path is None:
        return None
    if cfg.ckpt_path != "last":
        return Path(cfg.ckpt_path).expanduser()
    own = Path(cfg.run_dir) / "checkpoints" / "last.ckpt"
    if own.exists():
        return own
    found_before = _of_first_process(Path(cfg.run_dir))
    if found_before:
        return found_before
    hydra_cfg = HydraConfig.get()
    if hydra_cfg.mode == RunMode.MULTIRUN or any(o.startswith("hydra.run.dir=") for o in hydra_cfg.overrides.hydra):
        log.info("ckpt_path=last: %s does not exist yet; the run starts from the beginning", own)
        return None
    found = sorted(Path("outputs").glob("*/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError("ckpt_path=last: no outputs/*/*/checkpoints/last.ckpt here; name a path or leave it out")
    log.info("ckpt_path=last: resuming from %s", found[-1])
    return found[-1]


def _of_first_process(run_dir: Path) -> Path | None:
    """Return the checkpoint that the first of several processes found; the others run in its directory."""
    config = run_dir / ".hydra" / "config.yaml"
    path = OmegaConf.load(config).get("ckpt_path") if config.exists() else None
    return None if path in (None, "last") else Path(path)


def typed_options() -> list[str]:
    """Return the command line's options except those of ``PLACE``; empty if a program composed the config."""
    given = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return [option.input_line for option in _parsed(given) if option.key_or_group not in PLACE]


def own_config(cfg: DictConfig, options: Sequence[str], checkpoint: dict[str, Any]) -> tuple[DictConfig, list[str]]:
    """Return the config of the checkpoint's run, updated by the typed options, and the options of both.

    Values come from the checkpoint, even if the defaults have changed since. The effect of typed options is found by
    composing the config twice, with the run's options and with both: so a typed group (``stabilizer=[ema]``) replaces
    the run's, as a key does, and interpolated keys (``optim.generator.lr``) follow the keys that they refer to.

    Args:
        cfg: composed by Hydra from the typed options alone.
        options: see `typed_options`.
        checkpoint: contents of the file.
    """
    about = _about(checkpoint)
    if not HydraConfig.initialized() or "config" not in about:
        return cfg, list(options)  # a config composed by a program is complete
    before = about.get("overrides", [])
    both = _joined(before, options)
    old, new = _composed(before), _composed(both)
    for option in _parsed(options):
        value = OmegaConf.select(old, option.key_or_group)
        if value is not None and not OmegaConf.is_dict(value):
            OmegaConf.update(
                old, option.key_or_group, MISSING
            )  # so that a typed value counts even if it is the default
    own = _linked(_plain(new), about["config"])
    _change(own, _plain(old), _plain(new))
    own = {key: value for key, value in _plain(new).items() if key not in own} | own
    return OmegaConf.create(own | {key: _plain(cfg)[key] for key in PLACE}), both


def go_on(
    cfg: DictConfig,
    options: Sequence[str],
    networks: dict[str, dict[str, Any]],
    path: Path,
    checkpoint: dict[str, Any],
) -> list[dict[str, Any]]:
    """Check the changes of a resumed run, log them, and save the config with the results.

    Args:
        cfg: config of the resumed run.
        options: options that it was composed from.
        networks: arguments of ``generator`` and ``discriminator``, by these names.
        path: path of the checkpoint.
        checkpoint: contents of the checkpoint.
    Returns:
        the changes at this and at each earlier resumption: ``batch``, and ``changed``, which maps keys to the value
        before and after.
    Raises:
        UserError: if a changed value must not change within a run; it names the value and the allowed one.
    """
    changed = changes(cfg, checkpoint)
    check_resumable(path, checkpoint, networks, changed)
    for key, values in changed.items():
        log.info("%s: %s -> %s", key, *map(_word, values))
    cfg.ckpt_path = str(path.absolute())
    _keep(cfg, options)
    here = {"batch": checkpoint["batches"], "changed": {key: list(values) for key, values in changed.items()}}
    return _about(checkpoint).get("resumed", []) + [here] * bool(changed)


def changes(cfg: DictConfig, checkpoint: dict[str, Any]) -> Changes:
    """Return the differences from the config of the checkpoint's run, without keys that only follow another key."""
    config = _about(checkpoint).get("config")
    if config is None:
        return {}
    raw, now = _plain(cfg), OmegaConf.to_container(cfg, resolve=True)
    return {key: values for key, values in _differences(_linked(raw, config), raw, now) if key not in PLACE}


def check_resumable(
    path: Path, checkpoint: dict[str, Any], networks: dict[str, dict[str, Any]], changed: Changes
) -> None:
    """Check that a run changes nothing that must stay the same when it is resumed.

    Args:
        path: path of the checkpoint.
        checkpoint: contents of the checkpoint.
        networks: arguments of ``generator`` and ``discriminator``, by these names.
        changed: see `changes`.
    Raises:
        UserError: if a changed value must not change within a run; it names the value and the allowed one.
    """
    if "optimizer_states" not in checkpoint:
        raise UserError(f"ckpt_path={path} holds weights only and cannot be resumed")
    trained = flatten({name: checkpoint["hyper_parameters"][name] for name in networks})
    asked = flatten(networks)
    keys = sorted(trained.keys() | asked.keys())
    refused = {key: (trained.get(key), asked.get(key)) for key in keys if trained.get(key) != asked.get(key)}
    refused |= {key: values for key, values in changed.items() if _is_fixed(key, *values)}
    _refuse(path, refused, "or start a new run, without ckpt_path")
    epoch = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    if epoch["processed"] < epoch["ready"]:
        of_an_epoch = {key: changed[key] for key in OF_AN_EPOCH if key in changed}
        _refuse(path, of_an_epoch, "since the checkpoint is from within an epoch; it can change at an epoch's end")


def _is_fixed(key: str, before: Any, after: Any) -> bool:
    group, _, name = key.partition(".")
    if key == "init_from":
        return not {before, after} <= {None, ABSENT}  # older checkpoints do not have this key
    if key == "game.ema_decay":
        return (before is None) != (after is None)
    return key == "image_size" or (group == "data" and name.partition(".")[0] not in ANY_DATA)


def _refuse(path: Path, refused: Changes, way_out: str) -> None:
    if refused:
        some = list(refused.items())[:NAMED]
        before, after = (" ".join(f"{key}={_word(values[side])}" for key, values in some) for side in (0, 1))
        more = " ..." if len(refused) > NAMED else ""
        raise UserError(f"ckpt_path={path} cannot be resumed with {after}{more}: set {before}{more}, {way_out}")


def _word(value: Any) -> str:
    """Format a value as it is typed on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value}"


def _keep(cfg: DictConfig, options: Sequence[str]) -> None:
    """Write config and options to Hydra's output folder, for reports and for the other processes of this run."""
    if HydraConfig.initialized() and HydraConfig.get().output_subdir:
        folder = Path(HydraConfig.get().runtime.output_dir) / HydraConfig.get().output_subdir
        for name, content in (("config", cfg), ("overrides", OmegaConf.create(list(options)))):
            with replacing(folder / f"{name}.yaml") as temporary:
                OmegaConf.save(content, temporary)


def _parsed(options: Iterable[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(options))


def _joined(before: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return the options of both; a later option replaces an earlier one with the same key."""
    return [o.input_line for o in {o.get_key_element(): o for o in _parsed([*before, *options])}.values()]


def _composed(options: Sequence[str]) -> DictConfig:
    return hydra.compose(HydraConfig.get().job.config_name, list(options))


def _plain(cfg: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(cfg, resolve=False)


def _about(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the checkpoint's provenance, with the current paths of callbacks that have moved."""
    about = checkpoint["hyper_parameters"].get("provenance") or {}
    callbacks = about.get("config", {}).get("callbacks") or {}
    for callback in filter(None, callbacks.values()):
        room, _, name = callback.get("_target_", "").partition("colorize.training.")
        if not room and name.split(".")[0] in MOVED:
            callback["_target_"] = f"colorize.training.callbacks.{name}"
    return about


def _linked(raw: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Replace values of a config by the interpolations in ``raw`` that resolve to the same values."""
    whole = OmegaConf.create(config)

    def linked(raw: Any, value: Any) -> Any:
        if isinstance(raw, dict) and isinstance(value, dict):
            return {key: linked(raw.get(key), found) for key, found in value.items()}
        if not (isinstance(raw, str) and "${" in raw):
            return value
        whole[MISSING] = raw
        try:
            return raw if whole[MISSING] == value else value
        except OmegaConfBaseException:
            return value

    return linked(raw, config)


def _differences(
    old: dict[str, Any], new: dict[str, Any], now: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield each key that differs, with its value in ``old`` and in ``now``, the resolved new config."""
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key, ABSENT), new.get(key, ABSENT)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, now[key], f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}", (before, now.get(key, ABSENT))


def _change(own: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> None:
    """Apply to ``own`` the changes from ``old`` to ``new``."""
    for key, value in new.items():
        if all(isinstance(side.get(key), dict) for side in (own, old, new)):
            _change(own[key], old[key], value)
        elif key not in old or old[key] != value:
            own[key] = value
    for key in old.keys() - new.keys():
        own.pop(key, None)
