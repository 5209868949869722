"""Choose the images that checkpoints are scored on: validation images, without those that a model was trained on."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from colorize.base.errors import UserError
from colorize.checkpoint import Model
from colorize.data.store import ImageStore, training_pictures

log = logging.getLogger(__name__)

Models = dict[str, Model]  # by name

ANY_SPLIT = {
    "image_size",
    "batch_size",
    "flip",
    "augment",
    "store_dir",
    "download",
    "verify",
}  # keys of data that do not affect which images are used


def data_options(cfg: DictConfig, models: Models) -> dict[str, Any]:
    """Return the arguments of the data module for evaluation.

    Args:
        cfg: the config of ``conf/eval.yaml``. Without ``data=NAME`` the options are those of the first model's
            training, overridden by the keys of ``data`` that are set.
        models: models by name, see `read_model`.
    Raises:
        UserError: if the first model does not record its training data, and no data set is named.
    """
    given = OmegaConf.to_container(cfg.data, resolve=True)
    given = {key: value for key, value in given.items() if value != "???"}
    if "name" in given:
        return given
    path, model = next(iter(models.items()))
    own = _own_options(model)
    if "name" not in own:
        raise UserError(f"checkpoint {path} does not record its training data: name a data set, such as data=scenes")
    log.info("data=%s data.root=%s, as in the training of %s", own["name"], own.get("root"), path)
    return own | {"image_size": cfg.image_size, "batch_size": cfg.batch_size} | given


def hold_out(store: ImageStore, options: dict[str, Any], models: Models) -> list[str]:
    """Remove every image that a model was trained on from a store's validation images.

    Images are compared by their pixels. Training images are read from the image store that training used, or from any
    store with the same training images.

    Args:
        store: opened from ``options``; its ``val_rows`` are changed.
        options: see `data_options`.
        models: models by name, see `read_model`.
    Returns:
        Notes on the scores, one line each: data that differs from a model's own, images that were left out, and models
        whose training images are unknown.
    Raises:
        UserError: if no image is left.
    """
    pictures = store.pictures()
    candidates = store.val_rows.tolist()
    notes: list[str] = []
    trained: set[int] = set()  # rows
    for path, model in models.items():
        own = _own_options(model)
        notes += _differences(path, own, options)
        store_dirs = {Path(each["store_dir"]) for each in (own, options) if "store_dir" in each}
        known, why = trained_on(model.about, store_dirs)
        if known is None:
            notes.append(f"the training images of {path} are unknown ({why}): some of these images may be among them")
        elif rows := {row for row in candidates if pictures[row] in known}:
            notes.append(f"left out: {len(rows)} of {len(candidates)} images that {path} was trained on")
            trained |= rows
    left = [row for row in candidates if row not in trained]
    if not left:
        raise UserError(
            f"{', '.join(models)}: all {len(candidates)} validation images were used in training: "
            "name other data, such as data=folder data.root=FOLDER"
        )
    store.val_rows = torch.tensor(left)
    return notes


def trained_on(about: Mapping[str, Any], store_dirs: set[Path]) -> tuple[set[str] | None, str]:
    """Return the digests of a model's training images, or ``None`` and the reason why they are unknown.

    Args:
        about: metadata of the model, see `colorize.checkpoint.Model`.
        store_dirs: folders of image stores.
    """
    digest = about.get("trained_on")
    if digest is None:
        return None, "it does not record them"
    where = ", ".join(sorted(map(str, store_dirs)))
    return training_pictures(digest, store_dirs), f"no image store in {where} has the same training images"


def _own_options(model: Model) -> dict[str, Any]:
    return model.about.get("provenance", {}).get("config", {}).get("data", {})


def _differences(path: str, own: dict[str, Any], options: dict[str, Any]) -> list[str]:
    if own.get("name", options["name"]) != options["name"]:
        return [f"{path} was trained on other data: data={own['name']}, here data={options['name']}"]
    changed = [key for key in own if key in options.keys() - ANY_SPLIT and own[key] != options[key]]
    if "root" in changed and own["root"] == Path(options["root"]).name:  # an export records only a folder's name
        changed.remove("root")
    each = [f"data.{key}={_typed(own[key])}, here {_typed(options[key])}" for key in changed]
    return [f"{path} was trained on other data: {'; '.join(each)}"] if each else []


def _typed(value: Any) -> str:
    return "null" if value is None else str(value)
