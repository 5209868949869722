"""One whole step of every objective and stabilizer against the papers' formulas, written out for tiny networks."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorize.losses import build_loss
from colorize.losses.contract import LOSS_NAMES
from colorize.training.game import Game, Turn
from colorize.training.ledger import Ledger
from colorize.training.step import GanStep, Outcome

LR = 0.5  # of plain gradient descent, so that a step shows the whole gradient and not its sign alone
SIDE = 8
AUTO = {"r1": "auto", "r2": "auto", "gp": "auto"}


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, L: Tensor) -> Tensor:
        return self.conv(L).tanh()


class Discriminator(nn.Module):
    """Judges an image by one score, as the papers' discriminators do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 4, stride=2, padding=1)
        self.last = nn.Conv2d(4, 1, 4)

    def forward(self, x: Tensor, features: list[Tensor] | None = None) -> Tensor:
        hidden = F.softplus(self.first(x))  # has a second derivative
        if features is not None:
            features += [hidden, hidden.square()]
        return self.last(hidden)


class Bench:
    """A step under test, copies of its networks as they were before, and a batch."""

    def __init__(self, turn: Turn | None = None, game: Game = Game(), clip=(None, None), **loss: Any) -> None:  # noqa: B008
        torch.manual_seed(0)
        self.G, self.D, self.objective = Generator(), Discriminator(), build_loss("gan_l1", **AUTO | loss)
        self.L, self.ab = torch.rand(3, 1, SIDE, SIDE) * 2 - 1, torch.rand(3, 2, SIDE, SIDE) - 0.5
        mean = copy.deepcopy(self.G) if game.ema_decay else None
        self.mean, self.noise = mean, torch.tensor(game.instance_noise)
        optimizers = tuple(torch.optim.SGD(network.parameters(), LR) for network in (self.G, self.D))
        self.ledger = Ledger((*LOSS_NAMES, *self.objective.extra_losses))
        arguments = self.G, self.D, mean, optimizers, clip, self.objective, game, self.ledger, self.noise
        self.step = GanStep(*arguments, torch.zeros(()), Tensor.backward)
        self.turn = turn or Turn(penalty=bool(self.objective.penalty_every))
        self.G0, self.D0 = copy.deepcopy(self.G), copy.deepcopy(self.D)

    def run(self) -> dict[str, float]:
        """Step once, with random draws from seed 7; return the losses by name."""
        torch.manual_seed(7)
        outcome: Outcome = self.step(self.L, self.ab, self.turn)
        return dict(zip(self.ledger.names, outcome.losses.tolist(), strict=True))


def descended(network: nn.Module, loss: Tensor) -> nn.Module:
    """Return a copy of a network after one step of gradient descent on ``loss``."""
    after = copy.deepcopy(network)
    gradients = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    with torch.no_grad():
        for weight, gradient in zip(after.parameters(), gradients, strict=True):
            weight -= LR * gradient
    return after


def assert_same_weights(found: nn.Module, expected: nn.Module) -> None:
    for a, b in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def squared_norm(score: Tensor, ab: Tensor) -> Tensor:
    """Return each image's squared norm of the gradient of its one score: ``(B,)``."""
    (gradient,) = torch.autograd.grad(score.sum(), ab, create_graph=True)
    return gradient.square().sum((1, 2, 3))


def bce(logits: Tensor, target: float) -> Tensor:
    return -(target * logits.sigmoid().log() + (1 - target) * (1 - logits.sigmoid()).log()).mean()


# gan_mode to: D's term of fakes, of reals, and G's, of scores f and r, each as its paper has it
PAPERS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], Callable[..., Tensor]]] = {
    "vanilla": (lambda f, r: bce(f, 0), lambda f, r: bce(r, 1), lambda f, r: bce(f, 1)),
    "lsgan": (
        lambda f, r: f.square().mean(),
        lambda f, r: (r - 1).square().mean(),
        lambda f, r: (f - 1).square().mean(),
    ),
    "hinge": (
        lambda f, r: (1 + f).clamp(min=0).mean(),
        lambda f, r: (1 - r).clamp(min=0).mean(),
        lambda f, r: -f.mean(),
    ),
    "wgan-gp": (lambda f, r: f.mean(), lambda f, r: -r.mean(), lambda f, r: -f.mean()),
    "relativistic": (
        lambda f, r: (1 + (f - r).exp()).log().mean(),
        lambda f, r: (1 + (f - r).exp()).log().mean(),
        lambda f, r: (1 + (r - f).exp()).log().mean(),
    ),
}


def paper_penalty(b: Bench, fake_ab: Tensor, gan_mode: str, r1: float = 0, r2: float = 0, gp: float = 0) -> Tensor:
    """Return what a paper adds to D's loss: gamma / 2 |grad|^2 at reals and at fakes, lambda (|grad| - 1)^2 between."""
    fake_ab, ab = fake_ab.detach().requires_grad_(), b.ab.clone().requires_grad_()
    torch.manual_seed(7)
    share = torch.rand(3, 1, 1, 1)
    between = (ab + share * (fake_ab - ab)).detach().requires_grad_()
    at = {x: squared_norm(b.D0(torch.cat([b.L, x], 1)), x) for x in (ab, fake_ab, between)}
    return r1 / 2 * at[ab].mean() + r2 / 2 * at[fake_ab].mean() + gp * (at[between].sqrt() - 1).square().mean()


@pytest.mark.parametrize(
    ("gan_mode", "weights"),
    [
        ("vanilla", {}),
        ("lsgan", {}),
        ("hinge", {}),
        ("wgan-gp", {"gp": 10.0}),
        ("relativistic", {"r1": 1.0, "r2": 1.0}),
        ("vanilla", {"r1": 3.0}),
        ("lsgan", {"r2": 3.0}),
        ("hinge", {"gp": 3.0}),
        ("relativistic", {"r1": 0.5, "r2": 2.0}),
    ],
)
@pytest.mark.parametrize("every", [1, 4])
def test_a_whole_step_is_the_papers(gan_mode, weights, every) -> None:
    """D descends half of its paper's loss, penalties too (relativistic: the whole); then G, by that D."""
    b = Bench(gan_mode=gan_mode, penalty_every=every, lambda_L1=10.0, **weights)
    found = b.run()

    of_fake, of_real, of_generator = PAPERS[gan_mode]
    fake_ab = b.G0(b.L)
    f, r = (b.D0(torch.cat([b.L, ab], 1)) for ab in (fake_ab.detach(), b.ab))
    half = 1 if gan_mode == "relativistic" else 0.5
    paper = of_fake(f, r) if gan_mode == "relativistic" else of_fake(f, r) + of_real(f, r)
    penalty = half * paper_penalty(b, fake_ab, gan_mode, **weights) if weights else torch.zeros(())
    D1 = descended(b.D0, half * paper + every * penalty)
    f, r = (D1(torch.cat([b.L, ab], 1)) for ab in (fake_ab, b.ab))
    adversarial, l1 = of_generator(f, r), 10 * (fake_ab - b.ab).abs().mean()

    assert_same_weights(b.D, D1)
    assert_same_weights(b.G, descended(b.G0, adversarial + l1))
    assert found["loss_D"] == pytest.approx((half * paper).item(), rel=1e-5)
    assert found["loss_G_GAN"] == pytest.approx(adversarial.item(), rel=1e-5)
    assert found["loss_G_L1"] == pytest.approx(l1.item(), rel=1e-5)
    assert found["loss_G"] == pytest.approx((adversarial + l1).item(), rel=1e-5)
    if weights:  # without the factor of a lazy penalty, so that lazy and eager runs compare
        assert found["loss_D_penalty"] == pytest.approx(penalty.item(), rel=1e-5)


def test_without_a_penalty_on_this_step_d_descends_its_loss_alone() -> None:
    b = Bench(Turn(penalty=False), r1=3.0, penalty_every=4)
    found = b.run()
    f, r = (b.D0(torch.cat([b.L, ab], 1)) for ab in (b.G0(b.L).detach(), b.ab))
    assert_same_weights(b.D, descended(b.D0, 0.5 * (bce(f, 0) + bce(r, 1))))
    assert found["loss_D_penalty"] != found["loss_D_penalty"]  # not computed yet


@pytest.mark.parametrize("gan_mode", ["vanilla", "lsgan", "relativistic"])
def test_smoothed_labels_are_ds_alone(gan_mode) -> None:
    """Real images are to be judged 0.9, by D; G still wants its fakes judged 1 (Salimans et al. 2016)."""
    b = Bench(gan_mode=gan_mode, real_label=0.9, lambda_L1=0.0, r1=0.0, r2=0.0)
    found = b.run()
    fake_ab = b.G0(b.L)
    f, r = (b.D0(torch.cat([b.L, ab], 1)) for ab in (fake_ab.detach(), b.ab))
    of_fake = {"vanilla": bce(f, 0), "lsgan": f.square().mean(), "relativistic": bce(f - r, 0)}[gan_mode]
    of_real = {"vanilla": bce(r, 0.9), "lsgan": (r - 0.9).square().mean(), "relativistic": bce(r - f, 0.9)}[gan_mode]
    D1 = descended(b.D0, 0.5 * (of_fake + of_real))
    f, r = (D1(torch.cat([b.L, ab], 1)) for ab in (fake_ab, b.ab))
    assert_same_weights(b.D, D1)
    assert_same_weights(b.G, descended(b.G0, PAPERS[gan_mode][2](f, r)))
    assert found["loss_D_real"] == pytest.approx(of_real.item(), rel=1e-5)


def test_g_is_never_pushed_down_by_a_smoothed_label() -> None:
    """At a logit of 3, above that of the label 0.9 (2.2), G's gradient is still -(1 - sigmoid(3))."""
    logit = torch.tensor([3.0], requires_grad=True)
    ab = torch.zeros(1, 2, 2, 2)
    build_loss("gan_l1", real_label=0.9).generator(logit, ab, ab)["loss_G"].backward()
    assert logit.grad.item() == pytest.approx(-0.047426, rel=1e-4)


def test_feature_matching_sums_the_mean_distances_of_all_layers() -> None:
    b = Bench(lambda_FM=10.0, lambda_L1=0.0)
    found = b.run()
    fake_ab = b.G0(b.L)
    hidden = [F.softplus(b.D.first(torch.cat([b.L, ab], 1))) for ab in (fake_ab, b.ab)]  # b.D: G's step follows D's
    layers = [hidden, [x.square() for x in hidden]]
    matching = 10 * sum((fake - real.detach()).abs().mean() for fake, real in layers)
    adversarial = bce(b.D(torch.cat([b.L, fake_ab], 1)), 1)
    assert_same_weights(b.G, descended(b.G0, adversarial + matching))
    assert found["loss_G_FM"] == pytest.approx(matching.item(), rel=1e-5)


@pytest.mark.parametrize("game", [{"instance_noise": 0.1}, {"diffaugment": ["translation", "cutout"]}])
def test_a_perfect_generator_has_nothing_to_match(game) -> None:
    """Both pictures of a pair get the same noise and the same augmentation."""
    b = Bench(game=Game(**game), lambda_FM=10.0)
    with torch.no_grad():
        b.ab = b.G(b.L)
    assert b.run()["loss_G_FM"] == 0


def test_a_perfect_generator_is_its_partners_equal_under_augmentation() -> None:
    b = Bench(game=Game(diffaugment=["translation", "cutout"]), gan_mode="relativistic", r1=0.0, r2=0.0)
    with torch.no_grad():
        b.ab = b.G(b.L)
    found = b.run()
    assert found["loss_D"] == found["loss_G_GAN"] == pytest.approx(0.693147, rel=1e-5)  # ln 2: a draw


def test_instance_noise_is_on_the_chroma_of_all_that_d_sees() -> None:
    b = Bench(game=Game(instance_noise=0.3), lambda_L1=0.0)
    b.run()
    torch.manual_seed(7)
    noise = [0.3 * torch.randn(3, 2, SIDE, SIDE) for _ in range(2)]  # of D's step and of G's
    fake_ab = b.G0(b.L)
    f, r = (b.D0(torch.cat([b.L, ab + noise[0]], 1)) for ab in (fake_ab.detach(), b.ab))
    D1 = descended(b.D0, 0.5 * (bce(f, 0) + bce(r, 1)))
    assert_same_weights(b.D, D1)
    assert_same_weights(b.G, descended(b.G0, bce(D1(torch.cat([b.L, fake_ab + noise[1]], 1)), 1)))


def shifted_and_cut(*images: Tensor) -> list[Tensor]:
    """Draw once: shift each image by at most an eighth of its side, then blank a square of half its side."""
    count = len(images[0])
    shifts = [torch.randint(-1, 2, (count, 1)) for _ in range(2)]  # 8 / 8 = 1 pixel, down and right
    corners = [
        torch.randint(SIDE + 1, (count, 1)) - 2 for _ in range(2)
    ]  # the square is 4 pixels, its center 2 further
    found = []
    for x in images:
        padded = F.pad(x, (1, 1, 1, 1))
        out = []
        for i in range(count):
            down, right, top, left = (int(drawn[i]) for drawn in (*shifts, *corners))
            mask = torch.ones(SIDE, SIDE)
            mask[max(top, 0) : top + 4, max(left, 0) : left + 4] = 0
            out.append(padded[i, :, 1 + down : 1 + down + SIDE, 1 + right : 1 + right + SIDE] * mask)
        found.append(torch.stack(out))
    return found


def test_augmentation_is_on_lightness_and_chroma_of_all_that_d_sees() -> None:
    b = Bench(game=Game(diffaugment=["translation", "cutout"]), lambda_L1=0.0)
    b.run()
    torch.manual_seed(7)
    fake_ab = b.G0(b.L)
    L, fake, real = shifted_and_cut(b.L, fake_ab.detach(), b.ab)
    f, r = (b.D0(torch.cat([L, ab], 1)) for ab in (fake, real))
    D1 = descended(b.D0, 0.5 * (bce(f, 0) + bce(r, 1)))
    L, fake = shifted_and_cut(b.L, fake_ab)
    assert_same_weights(b.D, D1)
    assert_same_weights(b.G, descended(b.G0, bce(D1(torch.cat([L, fake], 1)), 1)))


@pytest.mark.parametrize("norm", [1e-3, 1e3])
@pytest.mark.parametrize("network", ["G", "D"])
def test_clipping_shortens_a_long_gradient_and_never_lengthens_a_short_one(network, norm) -> None:
    plain, clipped = Bench(), Bench(clip=(norm, None) if network == "G" else (None, norm))
    plain.run(), clipped.run()
    before, after = (list(getattr(b, network).parameters()) for b in (plain, clipped))
    start = list(getattr(plain, f"{network}0").parameters())
    gradient = [(a - b) / LR for a, b in zip(start, before, strict=True)]
    length = torch.cat([g.flatten() for g in gradient]).norm().item()
    assert 1e-3 < length < 1e3
    for a, b, g in zip(after, start, gradient, strict=True):
        torch.testing.assert_close(a, b - LR * g * min(1, norm / length), atol=1e-6, rtol=1e-3)


def test_the_mean_generator_follows_the_step() -> None:
    b = Bench(game=Game(ema_decay=0.999))
    b.run()
    for mean, new, old in zip(b.mean.parameters(), b.G.parameters(), b.G0.parameters(), strict=True):
        torch.testing.assert_close(mean, 0.1 * old + 0.9 * new)  # at the first update the decay is (1 + 0) / (10 + 0)


def test_steps_do_not_share_gradients() -> None:
    """The second of two steps descends its own gradient alone."""
    b = Bench(lambda_L1=10.0)
    b.run()
    b.G0, b.D0 = copy.deepcopy(b.G), copy.deepcopy(b.D)
    b.run()
    fake_ab = b.G0(b.L)
    f, r = (b.D0(torch.cat([b.L, ab], 1)) for ab in (fake_ab.detach(), b.ab))
    D1 = descended(b.D0, 0.5 * (bce(f, 0) + bce(r, 1)))
    loss_g = bce(D1(torch.cat([b.L, fake_ab], 1)), 1) + 10 * (fake_ab - b.ab).abs().mean()
    assert_same_weights(b.D, D1)
    assert_same_weights(b.G, descended(b.G0, loss_g))


def test_a_turn_of_d_alone_leaves_g_and_its_mean() -> None:
    b = Bench(Turn(generator=False), Game(ema_decay=0.999))
    found = b.run()
    f, r = (b.D0(torch.cat([b.L, ab], 1)) for ab in (b.G0(b.L).detach(), b.ab))
    assert_same_weights(b.D, descended(b.D0, 0.5 * (bce(f, 0) + bce(r, 1))))
    for network in (b.G, b.mean):
        assert all(torch.equal(a, c) for a, c in zip(network.parameters(), b.G0.parameters(), strict=True))
    assert found["loss_G"] != found["loss_G"]  # NaN: never computed


def test_a_turn_of_g_alone_is_judged_by_the_d_that_is_there() -> None:
    b = Bench(Turn(discriminator=False), lambda_L1=10.0)
    b.run()
    fake_ab = b.G0(b.L)
    loss = bce(b.D0(torch.cat([b.L, fake_ab], 1)), 1) + 10 * (fake_ab - b.ab).abs().mean()
    assert_same_weights(b.G, descended(b.G0, loss))
    assert all(torch.equal(a, c) for a, c in zip(b.D.parameters(), b.D0.parameters(), strict=True))


def test_in_its_warm_up_g_descends_l1_alone() -> None:
    b = Bench(Turn(discriminator=False, adversarial=False), lambda_L1=10.0)
    found = b.run()
    l1 = 10 * (b.G0(b.L) - b.ab).abs().mean()
    assert_same_weights(b.G, descended(b.G0, l1))
    assert found["loss_G"] == found["loss_G_L1"] == pytest.approx(l1.item(), rel=1e-6)


def test_gradient_norms_are_those_before_clipping() -> None:
    b = Bench(Turn(observed=True), clip=(1e-3, 1e-3))
    outcome = b.step(b.L, b.ab, b.turn)
    for name, network, before in (("G", b.G, b.G0), ("D", b.D, b.D0)):
        moved = torch.cat([(x - y).flatten() for x, y in zip(network.parameters(), before.parameters(), strict=True)])
        assert moved.norm().item() == pytest.approx(LR * 1e-3, rel=1e-3)  # clipped
        assert getattr(outcome, f"grad_norm_{name}").item() > 1e-2


def fused(b: Bench) -> Bench:
    """Give a bench fused Adams that heed the ledger's flag, as the module does."""
    optimizers = tuple(torch.optim.Adam(network.parameters(), 0.1, fused=True) for network in (b.G, b.D))
    for optimizer in optimizers:
        optimizer.found_inf = b.ledger.diverged
    arguments = b.G, b.D, b.mean, optimizers, (None, None), b.objective, b.step.game, b.ledger, b.noise
    b.step = GanStep(*arguments, torch.zeros(()), Tensor.backward)
    return b


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["L", "ab"])
def test_a_fused_step_on_what_is_no_number_leaves_every_weight(where, value) -> None:
    b = fused(Bench())
    b.run()
    before = copy.deepcopy([*b.G.parameters(), *b.D.parameters()])
    moments = copy.deepcopy([state for optimizer in b.step.optimizers for state in optimizer.state.values()])
    getattr(b, where)[0, 0, 0, 0] = value
    for _ in range(2):  # nor does any later one, until someone looks
        b.run()
    getattr(b, where)[0, 0, 0, 0] = 0.0
    b.run()
    assert all(torch.equal(a, c) for a, c in zip([*b.G.parameters(), *b.D.parameters()], before, strict=True))
    after = [state for optimizer in b.step.optimizers for state in optimizer.state.values()]
    assert all(torch.equal(x[key], y[key]) for x, y in zip(after, moments, strict=True) for key in x)
    assert b.ledger.complaint(0).endswith("at epoch 0, batch 1")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_loss_that_is_infinite_is_no_number(value) -> None:
    ledger = Ledger(LOSS_NAMES)
    ledger.check("loss_D", torch.tensor(1.0))
    assert ledger.complaint(0) is None
    ledger.check("loss_G", torch.tensor(value))
    ledger.check("loss_D", torch.tensor(torch.nan))  # what follows from it is not to blame
    assert ledger.complaint(2) == f"loss_G is {value} at epoch 2, batch 0"


def test_epoch_means_are_over_the_batches_that_computed_a_loss() -> None:
    ledger = Ledger((*LOSS_NAMES, "loss_D_penalty"))
    ledger.add({"loss_D": torch.tensor(1.0), "loss_D_penalty": torch.tensor(5.0)})
    ledger.add({"loss_D": torch.tensor(2.0)})
    resumed = Ledger(ledger.names)
    resumed.load(ledger.state())
    for book in (ledger, resumed):
        last = dict(zip(book.names, book.add({"loss_D": torch.tensor(6.0)}).tolist(), strict=True))
        assert (last["loss_D"], last["loss_D_penalty"]) == (6, 5)  # what was computed last
        assert {name: value.item() for name, value in book.mean().items()} == {"loss_D": 3, "loss_D_penalty": 5}
