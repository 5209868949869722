"""The objects of a generated scene and the canvas that they are drawn on, in CIE Lab."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from colorize.srgb import join, share_within

SUPERSAMPLING = 4  # masks are drawn this much larger and averaged: 17 levels of coverage at an edge
LIGHTNESS = (40.0, 76.0)  # range of L* of all objects, so that lightness is independent of hue
GLOW = 84.0  # L* of the moon and the sun by day, the lightest objects
CONTRAST = 13.0  # minimum L* difference between an object and its background
RELIEF = 6.0  # L* difference from the center of an object to its lit side, and to its top
HUE_JITTER = 3.0  # degrees, standard deviation; unpredictable for a model
CHROMA_JITTER = 0.05  # relative, standard deviation
GAMUT_MARGIN = 0.97  # share of the chroma that sRGB can show at a lightness and hue
MOST_CHROMA = 140.0  # Lab units: more than sRGB has anywhere

Shape = np.ndarray  # (n, 2) corners of a polygon
Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]  # u (1, w), v (h, 1) in [-1, 1] over an object -> L* to add


@lru_cache
def _chroma_limits() -> np.ndarray:
    """Return ``(101, 361)``: the largest chroma that scenes use at each L* and degree of hue."""
    L, hue = np.meshgrid(np.arange(101, dtype=np.float32), np.radians(np.arange(361, dtype=np.float32)), indexing="ij")
    return GAMUT_MARGIN * MOST_CHROMA * share_within(L, MOST_CHROMA * np.cos(hue), MOST_CHROMA * np.sin(hue))


def noise(rng: np.random.Generator, cells: tuple[int, int], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Interpolate noise ``(h, w)`` at ``x`` ``(1, w)`` and ``y`` ``(h, 1)`` from ``cells`` (rows, columns) values."""
    coarse = Image.fromarray(rng.standard_normal(cells, dtype=np.float32))
    return np.asarray(coarse.resize((x.size, y.size), Image.Resampling.BICUBIC))


class Canvas:
    """A square Lab image with the region of each pixel; positions are in [0, 1], with y down."""

    def __init__(self, size: int, setting: str, time: str, palette: dict, rng: np.random.Generator) -> None:
        self.size, self.rng = size, rng
        self.setting, self.time = setting, time  # some objects depend on them
        self.palette = palette  # part -> (hue in degrees, chroma)
        self.lab = np.zeros((size, size, 3), np.float32)
        self.owner = np.zeros((size, size), np.uint8)
        self.regions: list[str] = []  # ``owner`` holds indices into it
        self.lit_from = rng.choice([-1.0, 1.0])  # side of the light: left or right

    def begin(self, region: str) -> int:
        """Start a new region and return its index."""
        self.regions.append(region)
        return len(self.regions) - 1

    def ab(self, part: str) -> np.ndarray:
        """Return the chroma ``(2,)`` of a part, from the palette with jitter."""
        hue, chroma = self.palette[part]
        angle = math.radians(hue + self.rng.normal(0, HUE_JITTER))
        return np.float32([math.cos(angle), math.sin(angle)]) * chroma * self.rng.normal(1, CHROMA_JITTER)

    def paint(
        self, shapes: list[Shape], L: float, ab: np.ndarray, pattern: Pattern | None = None, owner: int | None = None
    ) -> None:
        """Fill the union of ``shapes``, lighter toward the lit upper corner."""
        corners = np.concatenate(shapes) * self.size
        start, stop = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
        (x0, y0), (x1, y1) = start.clip(0, self.size).astype(int), stop.clip(0, self.size).astype(int)
        if x0 == x1 or y0 == y1:
            return
        mask = Image.new("L", ((x1 - x0) * SUPERSAMPLING, (y1 - y0) * SUPERSAMPLING))
        pen = ImageDraw.Draw(mask)
        for shape in shapes:
            pen.polygon(((shape * self.size - (x0, y0)) * SUPERSAMPLING).ravel().tolist(), fill=255)
        cover = np.asarray(mask.reduce(SUPERSAMPLING), np.float32) / 255
        u = 2 * (np.arange(x0, x1, dtype=np.float32)[None] + 0.5 - start[0]) / (stop[0] - start[0]) - 1
        v = 2 * (np.arange(y0, y1, dtype=np.float32)[:, None] + 0.5 - start[1]) / (stop[1] - start[1]) - 1
        light = L + RELIEF * (self.lit_from * u - v)
        paint = np.empty((*cover.shape, 3), np.float32)
        paint[..., 0] = light if pattern is None else light + pattern(u, v)
        paint[..., 1:] = ab
        under = self.lab[y0:y1, x0:x1]
        under += (paint - under) * cover[..., None]
        if owner is not None:
            self.owner[y0:y1, x0:x1][cover > 0.5] = owner

    def rgb(self) -> np.ndarray:
        """Return ``(size, size, 3)`` uint8; chroma is clipped to the sRGB gamut at constant lightness and hue."""
        L, a, b = np.moveaxis(self.lab, -1, 0)
        L = L.clip(4, 97)
        hue = np.degrees(np.arctan2(b, a)) % 360
        limit = _chroma_limits()[L.round().astype(np.intp), hue.round().astype(np.intp)]
        scale = np.minimum(1, limit / np.maximum(np.hypot(a, b), 1e-3))
        return join(L, a * scale, b * scale, np.uint8)[0]


class Brush:
    """Draws one object in its own coordinates: x to the right, y up from its foot, in units of its height."""

    def __init__(self, canvas: Canvas, category: str, foot: tuple[float, float], height: float) -> None:
        self.canvas, self.rng, self.foot, self.height = canvas, canvas.rng, foot, height
        self.owner = canvas.begin(category)
        self.facing = self.rng.choice([-1.0, 1.0])
        x, y = (int(np.clip(p, 0, 0.999) * canvas.size) for p in (foot[0], foot[1] - height / 2))
        behind = canvas.lab[y, x, 0]
        drawn = self.rng.uniform(*LIGHTNESS, size=8)
        self.L = drawn[np.argmax(np.abs(drawn - behind) > CONTRAST)]

    def fill(self, part: str, shapes: list[Shape], lift: float = 0.0, pattern: Pattern | None = None) -> None:
        """Paint a part, ``lift`` L* lighter than the object."""
        placed = [self.foot + shape * (self.facing * self.height, -self.height) for shape in shapes]
        self.canvas.paint(placed, self.L + lift, self.canvas.ab(part), pattern, self.owner)


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Shape:
    """Return an ellipse around ``(x, y)``, rotated by ``turn`` radians."""
    t = np.linspace(0, 2 * math.pi, 32, endpoint=False)
    px, py = rx * np.cos(t), ry * np.sin(t)
    return np.stack([x + px * math.cos(turn) - py * math.sin(turn), y + px * math.sin(turn) + py * math.cos(turn)], 1)


def box(x0: float, y0: float, x1: float, y1: float) -> Shape:
    """Return an axis-aligned rectangle."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def polygon(*corners: tuple[float, float]) -> Shape:
    """Return a polygon."""
    return np.array(corners, float)


def ring(count: int, radius: float, rx: float, ry: float, y: float = 0.0, start: float = 0.0) -> list[Shape]:
    """Return ``count`` radial ellipses around ``(0, y)``, the first at the angle ``start``."""
    angles = start + np.arange(count) * 2 * math.pi / count
    return [ellipse(radius * math.cos(t), y + radius * math.sin(t), rx, ry, t) for t in angles]


def draw_sun(brush: Brush) -> None:
    """Draw a disc, with rays by day; its foot is its center."""
    brush.L = GLOW
    rays = ring(12, 0.6, 0.17, 0.035) if brush.canvas.time == "day" else []
    brush.fill("sun", [ellipse(0, 0, 0.38, 0.38), *rays], 0 if rays else -18)  # sRGB has no saturated red above L* 66


def draw_moon(brush: Brush) -> None:
    """Draw a crescent."""
    brush.L = GLOW
    t = np.linspace(-2.2, 2.2, 24)
    inner = np.linspace(1.55, -1.55, 24)
    outer = np.stack([np.cos(t), np.sin(t)], 1)
    hollow = np.stack([0.85 * np.cos(inner) - 0.6, 0.81 * np.sin(inner)], 1)
    brush.fill("moon", [np.concatenate([outer, hollow]) * 0.5 + (0, 0.5)], 4)


def draw_cloud(brush: Brush) -> None:
    """Draw a heap of puffs on a flat base."""
    puffs = [ellipse(x, 0.3 + 0.25 * brush.rng.random(), 0.42, 0.3 + 0.15 * brush.rng.random()) for x in (-0.7, 0, 0.7)]
    brush.fill("cloud", [*puffs, box(-0.9, 0.02, 0.9, 0.3), ellipse(-1, 0.2, 0.3, 0.19), ellipse(1, 0.2, 0.3, 0.19)], 4)


def draw_mountain(brush: Brush) -> None:
    """Draw a ridge, snow-capped in the meadow and in winter, or a mesa with strata in the desert."""
    rng = brush.rng
    if brush.canvas.setting == "desert":
        mesa = polygon((-1.3, 0), (-0.9, 0.55), (-0.75, 0.6), (-0.65, 1), (0.6, 1), (0.75, 0.5), (0.9, 0.45), (1.3, 0))
        brush.fill("rock", [mesa], pattern=lambda u, v: 6 * np.sin(11 * v + 0.6 * noise(rng, (2, 4), u, v)))
        return
    x = np.linspace(-1.6, 1.6, 17)
    ridge = (1 - np.abs(x) / 1.6) * (1 + 0.16 * rng.standard_normal(17))
    peak, dark_side = x[ridge.argmax()] / 1.6, -brush.canvas.lit_from
    ridge /= ridge.max()
    slopes = np.stack([x, ridge.clip(0)], 1)
    brush.fill("rock", [slopes], pattern=lambda u, v: 8 * dark_side * np.sign(brush.facing * peak - u + 0.2 * v))
    if brush.canvas.setting in ("meadow", "winter"):
        cap = slopes[ridge > 0.62]
        hem = [(px, 0.55 + 0.12 * (i % 2)) for i, px in enumerate(np.linspace(cap[-1, 0], cap[0, 0], 6))]
        brush.fill("peak", [np.concatenate([cap, hem])], 16)


def draw_tree(brush: Brush) -> None:
    """Draw a round tree, a fir in winter, a palm at the beach."""
    rng, setting = brush.rng, brush.canvas.setting
    if setting == "beach":
        brush.fill("trunk", [polygon((-0.05, 0), (0.05, 0), (0.1, 0.4), (0.04, 0.8), (0, 0.8), (0.03, 0.4))], -14)
        fronds = [ellipse(0.25 * math.cos(t), 0.8 + 0.16 * math.sin(t), 0.26, 0.06, t * 0.8) for t in (-0.5, 0.3, 1.2)]
        brush.fill("crown", [s for f in fronds for s in (f, f * (-1, 1) + (0.04, 0))])
        return
    brush.fill("trunk", [box(-0.05, 0, 0.05, 0.4)], -14)
    if setting == "winter":
        tiers = [polygon((-w, y), (w, y), (0, y + 0.42)) for w, y in ((0.34, 0.15), (0.27, 0.36), (0.2, 0.58))]
        brush.fill("crown", tiers, pattern=lambda u, v: 10 * np.sin(9 * v + 4 * np.abs(u)))
        return
    puffs = [ellipse(0, 0.64, 0.2, 0.2), *ring(5, 0.165, 0.2, 0.2, 0.64, rng.random())]
    brush.fill("crown", puffs, pattern=lambda u, v: 10 * noise(rng, (7, 7), u, v))


def draw_cactus(brush: Brush) -> None:
    """Draw a ribbed column with two arms."""
    trunk = [box(-0.1, 0, 0.1, 0.9), ellipse(0, 0.9, 0.1, 0.1)]
    left = [box(-0.34, 0.34, 0, 0.46), box(-0.36, 0.4, -0.24, 0.68), ellipse(-0.3, 0.68, 0.06, 0.07)]
    right = [box(0, 0.24, 0.32, 0.35), box(0.22, 0.28, 0.34, 0.55), ellipse(0.28, 0.55, 0.06, 0.07)]
    brush.fill("cactus", trunk + left + right, pattern=lambda u, v: 6 * np.cos(22 * u) + 0 * v)


def draw_house(brush: Brush) -> None:
    """Draw a brick cottage, or a tower with rows of windows in the city."""
    glow = brush.rng.choice([-18.0, 18.0])
    if brush.canvas.setting == "city":
        top = brush.rng.uniform(0.9, 1.5)
        brush.fill("wall", [box(-0.24, 0, 0.24, top)])
        rows = range(round(6 * top))
        step = (top - 0.06) / len(rows)
        sills = [0.08 + step * row for row in rows]
        panes = [box(x, y, x + 0.09, y + 0.55 * step) for y in sills for x in (-0.19, -0.045, 0.1)]
        brush.fill("window", panes, glow)
        return
    brush.fill("wall", [box(-0.45, 0, 0.45, 0.55)], pattern=lambda u, v: 7 * np.sign(np.sin(20 * v)) + 0 * u)
    brush.fill("roof", [polygon((-0.56, 0.52), (0.56, 0.52), (0.34, 1), (-0.34, 1))], -glow)
    brush.fill("window", [box(-0.32, 0.2, -0.1, 0.42), box(0.1, 0.2, 0.32, 0.42)], glow)


def draw_boat(brush: Brush) -> None:
    """Draw a hull, a mast and two sails."""
    sails = [polygon((0.03, 0.27), (0.03, 1), (0.42, 0.3)), polygon((-0.03, 0.3), (-0.03, 0.9), (-0.33, 0.3))]
    brush.fill("sail", sails, 10)
    brush.fill("trunk", [box(-0.02, 0.15, 0.02, 1)], -20)
    brush.fill("hull", [polygon((-0.36, 0), (0.34, 0), (0.52, 0.24), (-0.48, 0.24))], -6)


def draw_flower(brush: Brush) -> None:
    """Draw a stem with two leaves under six petals."""
    leaves = [ellipse(0.13, 0.22, 0.13, 0.05, 0.6), ellipse(-0.13, 0.22, 0.13, 0.05, -0.6)]
    brush.fill("stem", [box(-0.025, 0, 0.025, 0.7), *leaves], -12)
    brush.fill("petal", ring(6, 0.18, 0.15, 0.1, 0.7), 4)
    brush.fill("heart", [ellipse(0, 0.7, 0.1, 0.1)], brush.rng.choice([-16, 16]))


def draw_ball(brush: Brush) -> None:
    """Draw a ball; its pattern determines its color."""
    patterns: dict[str, Pattern] = {
        "striped ball": lambda u, v: 14 * np.sign(np.sin(7 * (u + 0.5 * v))),
        "dotted ball": lambda u, v: 26.0 * (np.cos(8 * u) * np.cos(8 * v) > 0.35) - 5,
        "quartered ball": lambda u, v: 14 * np.sign(u * v),
    }
    kind = brush.rng.choice(list(patterns))
    brush.fill(kind, [ellipse(0, 0.5, 0.5, 0.5)], pattern=patterns[kind])


def draw_bird(brush: Brush) -> None:
    """Draw a flying bird."""
    brush.fill("beak", [polygon((0.55, 0.42), (0.85, 0.3), (0.55, 0.28))], 8)
    wings = [polygon((-0.2, 0.4), (0.25, 0.42), (-0.1, 1)), polygon((-0.05, 0.45), (0.3, 0.45), (0.35, 0.95))]
    tail = polygon((-0.45, 0.3), (-0.95, 0.5), (-0.9, 0.25))
    brush.fill("bird", [ellipse(0, 0.32, 0.5, 0.2), ellipse(0.48, 0.4, 0.17, 0.17), tail, *wings])


def draw_car(brush: Brush) -> None:
    """Draw a car from the side."""
    cabin = polygon((-0.6, 0.5), (-0.4, 0.98), (0.3, 0.98), (0.62, 0.5))
    bumpers = [ellipse(-0.95, 0.4, 0.14, 0.18), ellipse(0.95, 0.4, 0.16, 0.18)]
    brush.fill("coachwork", [box(-1, 0.22, 1, 0.58), cabin, *bumpers])
    rear = polygon((-0.48, 0.56), (-0.33, 0.88), (-0.08, 0.88), (-0.08, 0.56))
    front = polygon((0.02, 0.56), (0.02, 0.88), (0.25, 0.88), (0.46, 0.56))
    brush.fill("glass", [rear, front], brush.rng.choice([-18, 18]))
    brush.fill("tire", [ellipse(-0.55, 0.2, 0.2, 0.2), ellipse(0.55, 0.2, 0.2, 0.2)], -30)
