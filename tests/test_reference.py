"""Networks and one whole training step agree with an independent transcription of the report."""

import copy
import functools
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorize.base.seeds import seed_for
from colorize.data import Batch
from colorize.networks import build_discriminator, build_generator
from colorize.training import ColorizationModule


class ReferenceGenerator(nn.Module):
    """The report's generator as flat lists: down 1-64-128-256-512-512-512-512-512, and up again."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1, 64, 128, 256, 512, 512, 512, 512, 512]
        self.down = nn.ModuleList([nn.Conv2d(a, b, 4, 2, 1, bias=False) for a, b in itertools.pairwise(widths)])
        self.down_norm = nn.ModuleList([nn.BatchNorm2d(width) for width in widths[2:8]])  # levels 2 to 7
        self.up = nn.ModuleList(
            [
                nn.ConvTranspose2d(512, 512, 4, 2, 1, bias=False),
                nn.ConvTranspose2d(1024, 512, 4, 2, 1, bias=False),
                nn.ConvTranspose2d(1024, 512, 4, 2, 1, bias=False),
                nn.ConvTranspose2d(1024, 512, 4, 2, 1, bias=False),
                nn.ConvTranspose2d(1024, 256, 4, 2, 1, bias=False),
                nn.ConvTranspose2d(512, 128, 4, 2, 1, bias=False),
                nn.ConvTranspose2d(256, 64, 4, 2, 1, bias=False),
                nn.ConvTranspose2d(128, 2, 4, 2, 1, bias=True),
            ]
        )
        self.up_norm = nn.ModuleList([nn.BatchNorm2d(width) for width in (512, 512, 512, 512, 256, 128, 64)])

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.down[0](x)]
        for level in range(1, 8):
            h = self.down[level](F.leaky_relu(skips[-1], 0.2))
            skips.append(self.down_norm[level - 1](h) if level < 7 else h)
        h = self.up_norm[0](self.up[0](F.relu(skips.pop())))
        for level in range(1, 7):
            h = self.up_norm[level](self.up[level](F.relu(torch.cat([skips.pop(), h], 1))))
            if level <= 3:
                h = F.dropout(h, 0.5, self.training)
        return torch.tanh(self.up[7](F.relu(torch.cat([skips.pop(), h], 1))))


class ReferenceDiscriminator(nn.Module):
    """The report's PatchGAN as one list; it judges by the batch's own statistics, as in the report's training."""

    def __init__(self) -> None:
        super().__init__()
        norm = functools.partial(nn.BatchNorm2d, track_running_stats=False)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 64, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 4, 2, 1, bias=False), norm(128), nn.LeakyReLU(0.2),
            nn.Conv2d(128, 256, 4, 2, 1, bias=False), norm(256), nn.LeakyReLU(0.2),
            nn.Conv2d(256, 512, 4, 1, 1, bias=False), norm(512), nn.LeakyReLU(0.2),
            nn.Conv2d(512, 1, 4, 1, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def generator_pairs(ours: nn.Module, reference: ReferenceGenerator) -> list[tuple[nn.Module, nn.Module]]:
    """Pair our nested layers with the reference's flat ones: ours come down in order, then up from the inside."""
    convs = [m for m in ours.modules() if isinstance(m, nn.Conv2d)]
    ups = [m for m in ours.modules() if isinstance(m, nn.ConvTranspose2d)]
    norms = [m for m in ours.modules() if isinstance(m, nn.BatchNorm2d)]
    theirs = [*reference.down_norm, *reference.up_norm]
    return [
        *zip(convs, reference.down, strict=True),
        *zip(ups, reference.up, strict=True),
        *zip(norms, theirs, strict=True),
    ]


@pytest.fixture(scope="module")
def module() -> ColorizationModule:
    # Not fused: D's weights would differ in the last bit, and with them the sign of gradients that are all rounding
    adam = {"name": "adam", "lr": 2e-4, "betas": [0.5, 0.999], "fused": False}
    return ColorizationModule(
        generator={"name": "unet"},
        discriminator={"name": "patch"},
        loss={"name": "gan_l1", "gan_mode": "vanilla", "lambda_L1": 100.0},
        optim={"generator": adam, "discriminator": adam},
    )


@pytest.fixture(scope="module")
def reference(module: ColorizationModule) -> tuple[nn.Module, nn.Module]:
    generator, discriminator = ReferenceGenerator(), ReferenceDiscriminator()
    for ours, theirs in generator_pairs(module.generator, generator):
        theirs.load_state_dict(ours.state_dict())
    discriminator.layers.load_state_dict(module.discriminator.model.state_dict())
    return generator, discriminator


@pytest.fixture(scope="module")
def batch() -> Batch:
    draw = torch.Generator().manual_seed(1)
    L = torch.rand(2, 1, 256, 256, generator=draw) * 2 - 1
    return Batch(L, torch.rand(2, 2, 256, 256, generator=draw) - 0.5, torch.arange(2))


def test_generator_has_the_reports_parameters() -> None:
    assert sum(p.numel() for p in build_generator("unet").parameters()) == 54_409_858


def test_discriminator_has_the_reports_parameters() -> None:
    assert sum(p.numel() for p in build_discriminator("patch").parameters()) == 2_765_633


def test_outputs_equal_the_transcription(module: ColorizationModule, reference: tuple, batch: Batch) -> None:
    generator, discriminator = (copy.deepcopy(network).eval() for network in reference)
    image = torch.cat([batch.L, batch.ab], 1)
    with torch.no_grad():
        module.eval()
        torch.testing.assert_close(module.generator(batch.L), generator(batch.L), atol=1e-5, rtol=0)
        torch.testing.assert_close(module.discriminator(image), discriminator(image), atol=1e-5, rtol=0)
    module.train()


@pytest.mark.filterwarnings("ignore:.*no `val_dataloader`")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_one_training_step_equals_the_transcription(module: ColorizationModule, reference: tuple, batch: Batch) -> None:
    """Losses and every weight after D's and G's step on one batch, both written out from the report."""
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader

    generator, discriminator = reference
    opt_g = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    opt_d = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))
    torch.manual_seed(seed_for("dropout", 0, 0, 0))  # seed 0, rank 0, batch 0
    fake_ab = generator(batch.L)
    fake = discriminator(torch.cat([batch.L, fake_ab.detach()], 1))
    real = discriminator(torch.cat([batch.L, batch.ab], 1))
    loss_d_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    loss_d_real = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    loss_d = 0.5 * (loss_d_fake + loss_d_real)
    loss_d.backward()
    opt_d.step()
    fake = discriminator(torch.cat([batch.L, fake_ab], 1))
    loss_g_gan = F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
    loss_g_l1 = 100 * (fake_ab - batch.ab).abs().mean()
    opt_g.zero_grad()
    (loss_g_gan + loss_g_l1).backward()
    opt_g.step()

    trainer = Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, DataLoader([batch], batch_size=None))

    logged = trainer.callback_metrics
    expected = {
        "loss_D_fake": loss_d_fake, "loss_D_real": loss_d_real, "loss_D": loss_d,
        "loss_G_GAN": loss_g_gan, "loss_G_L1": loss_g_l1, "loss_G": loss_g_gan + loss_g_l1,
    }  # fmt: skip
    for name, value in expected.items():
        torch.testing.assert_close(logged[f"train/{name}"], value.detach(), atol=1e-5, rtol=1e-5)
    for ours, theirs in generator_pairs(module.generator, generator):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    for a, b in zip(module.discriminator.parameters(), discriminator.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
