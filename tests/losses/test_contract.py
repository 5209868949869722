"""The contract of objectives has exactly what training uses, and every loss implements it."""

import ast
import inspect

from colorize.losses import build_loss
from colorize.losses.contract import LOSS_NAMES, Objective
from tests.conftest import ROOT

ATTRIBUTES = set(inspect.get_annotations(Objective))
METHODS = {name for name, value in vars(Objective).items() if inspect.isfunction(value) and not name.startswith("_")}


def members_used() -> set[str]:
    """Return every attribute of something called ``objective`` in the code that trains."""
    used = set()
    for path in [*(ROOT / "colorize/training").rglob("*.py"), *(ROOT / "colorize/experiments").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                owner = getattr(node.value, "attr", getattr(node.value, "id", None))
                used |= {node.attr} if owner == "objective" else set()
    return used


def test_training_uses_what_the_contract_has_and_nothing_else() -> None:
    assert members_used() == ATTRIBUTES | METHODS


def test_the_objective_has_the_members_and_arguments_of_the_contract() -> None:
    objective = build_loss("gan_l1")
    assert all(hasattr(objective, name) for name in ATTRIBUTES)
    for name in METHODS:
        wanted = [*inspect.signature(getattr(Objective, name)).parameters][1:]
        assert [*inspect.signature(getattr(objective, name)).parameters] == wanted, name


def test_the_names_are_the_reports() -> None:
    assert LOSS_NAMES == ("loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN", "loss_G_L1", "loss_G")
