"""An abdomen out of ellipsoids, in the portal venous phase: solid organs, bowel, lumbar spine."""

from __future__ import annotations

import numpy as np

from .skeleton import CORTEX, MARROW, MUSCLE, Organ, beads, organ, ribs, spine

__all__ = ["abdomen"]

_SKIN, _FAT, _WALL, _BLOOD, _VEIN, _GAS = 35.0, -105.0, 75.0, 160.0, 150.0, -960.0


def abdomen() -> list[Organ]:
    """Return the organs [HU, mm], the later ones over the earlier."""
    return [*_trunk(), *_bowel(), *_organs(), *_vessels(), *_bones()]


def _trunk() -> list[Organ]:
    found = organ(_SKIN, (0, 0, 0), (178, 128, 640)) + organ(_FAT, (0, 0, 0), (176, 126, 635))
    found += organ(MUSCLE, (0, 4, 0), (152, 101, 560)) + organ(_FAT, (0, -2, 0), (139, 88, 520))
    for side in (-1, 1):
        found += organ(MUSCLE, (side * 27, -90, 0), (26, 7, 400), -side * 0.16)
        found += organ(MUSCLE, (side * 38, 92, 0), (33, 22, 400), side * 0.15)
        found += organ(MUSCLE, (side * 82, 74, -50), (28, 14, 130), -side * 0.4)
        found += organ(MUSCLE, (side * 42, 46, -80), (17, 22, 120), side * 0.3)  # psoas
    for side, top in ((-1, 168), (1, 160)):  # bases of the lungs
        found += organ(-860, (side * 84, 16, top), (58, 74, 92), side * 0.15)
    return found


def _organs() -> list[Organ]:
    found = organ(108, (-74, -6, 62), (66, 82, 96), 0.18)  # right lobe, with its tip to below
    found += organ(108, (-96, 16, 0), (38, 56, 82))
    found += organ(108, (6, -56, 92), (72, 36, 50), -0.2)  # left lobe
    found += organ(_FAT, (-16, -40, 62), (3, 34, 40), 0.5)
    for path in (
        [(-24, -6, 70), (-60, -18, 78), (-100, -10, 84)], [(-24, -6, 66), (-66, 16, 60)],
        [(-20, 4, 118), (-60, 30, 112)], [(-20, 0, 118), (-64, -30, 122)],
        [(-20, -2, 118), (10, -44, 112)],
    ):  # fmt: skip
        found += beads(_VEIN + 10, path, 5.0, 4.5, 8)
    found += organ(12, (-112, -24, 96), (9, 8, 9)) + organ(55, (-70, 34, 30), (13, 11, 12))
    found += organ(_WALL, (-50, -60, 8), (16, 23, 31), 0.3)  # gall bladder
    found += organ(8, (-50, -60, 8), (14.5, 21, 29), 0.3)
    found += organ(120, (102, 34, 78), (27, 46, 57), 0.35)  # spleen
    found += organ(_FAT, (84, 22, 74), (14, 26, 34), 0.35)
    for x, y, z, turn in ((-68, 52, -14, -0.5), (70, 54, 12, 0.5)):
        side = 1 if x > 0 else -1
        found += organ(_FAT, (x, y, z), (39, 38, 66), turn)
        found += organ(185, (x, y, z), (27, 30, 55), turn)
        found += organ(150, (x, y, z), (20, 23, 46), turn)
        found += organ(_FAT + 15, (x - side * 16, y - 5, z), (19, 10, 26), turn)  # sinus
        found += organ(12, (x - side * 15, y - 5, z - 4), (9, 6, 13), turn)
    found += organ(185, (92, 66, -6), (11, 11, 11)) + organ(6, (94, 68, -6), (13, 13, 13))  # cyst
    pancreas = [(-34, -14, 14), (-8, -22, 26), (30, -12, 40), (66, 12, 54)]
    found += beads(98, pancreas, 11, 12, 9) + beads(20, pancreas[:3], 1.5, 1.5, 5)
    for side in (-1, 1):  # adrenals
        path = [(side * 34, 34, 58), (side * 44, 46, 62), (side * 46, 54, 56)]
        found += beads(60, path, 2.6, 9, 6)
    return found


def _bowel() -> list[Organ]:
    found = organ(_WALL, (54, -44, 92), (56, 40, 62), 0.45)  # stomach: food, and air in front
    found += organ(25, (54, -44, 92), (52, 36, 58), 0.45)
    found += organ(_GAS, (58, -62, 90), (36, 15, 42), 0.3)
    colon = (
        ([(-112, 8, -140), (-116, 4, -70), (-108, -14, -34)], 26, 20, 0.85),
        ([(-98, -34, -30), (-50, -66, -44), (10, -72, -40), (70, -62, -4), (108, -20, 28)],
         20, 30, 0.7),
        ([(116, -4, 24), (120, 18, -60), (116, 14, -150)], 17, 22, 0.6),
    )  # fmt: skip
    rng = np.random.default_rng(7)
    for path, width, step, gas in colon:
        for hu, thinner in ((_WALL, 0.0), (20.0, 2.5)):
            found += beads(hu, path, width - thinner, width - thinner, step)
        for _, (x, y, z), (_, b, c), turn in beads(0, path, width - 4, width - 4, step):
            if rng.random() < gas:
                size = rng.uniform(0.55, 0.85)
                bubble = (size * b, size * b * 0.8, size * c)
                found += organ(_GAS, (x, y - 0.3 * b, z), bubble, turn)
    for _ in range(70):  # small bowel
        x, y, z = rng.uniform(-92, 92), rng.uniform(-64, 12), rng.uniform(-165, 2)
        if (x / 98) ** 2 + ((y + 20) / 66) ** 2 > 1.0:
            continue
        axes, turn = rng.uniform((12, 10, 10), (25, 14, 14)), rng.uniform(0, np.pi)
        found += organ(_FAT, (x, y, z), axes + 2.5, turn) + organ(_WALL + 20, (x, y, z), axes, turn)
        found += organ(18.0, (x, y, z), axes - 2.6, turn)
        if rng.random() < 0.2:
            found += organ(_GAS, (x, y - 4, z), 0.45 * axes, turn)
    return found


def _vessels() -> list[Organ]:
    found = beads(_BLOOD, [(9, 22, 180), (8, 24, 0), (4, 26, -110)], 10.5, 12, 14)
    found += beads(_VEIN, [(-20, 14, 150), (-21, 20, 60), (-21, 27, -110)], 11, 13, 14)
    for side in (-1, 1):
        found += beads(_BLOOD, [(2, 26, -108), (side * 34, 22, -190)], 7, 7, 9)
        found += beads(_VEIN, [(side * 8 - 12, 30, -108), (side * 38, 30, -190)], 8, 7, 9)
    found += beads(_BLOOD, [(8, 14, 34), (7, 0, 22), (4, -12, -60)], 4, 5, 8)  # mesenteric artery
    found += beads(_VEIN, [(-10, -8, -60), (-9, -6, 20), (-22, -4, 62)], 5.5, 5.5, 8)  # portal vein
    for side, z in ((-1, -12), (1, 12)):
        found += beads(_VEIN, [(side * 8 - 8, 20, z), (side * 50, 46, z - 2)], 4, 4.5, 8)
    return found + beads(800.0, [(17, 27, -40), (13, 33, -60)], 1.8, 5.0, 6)  # calcified wall


def _bones() -> list[Organ]:
    found = spine(56.0, 34.0 * np.arange(-5, 6) + 6.0, width=24.0, lumbar=True, sway=-8.0)
    found += ribs([138, 166, 194], 146.0, 95.0, middle=2.0, drop=105.0, bony=0.72)
    found += ribs([82, 110], 146.0, 95.0, middle=2.0, drop=70.0, bony=0.45)
    for side in (-1, 1):  # wings of the pelvis
        found += organ(CORTEX, (side * 92, 48, -172), (46, 8, 66), -side * 0.75)
        found += organ(MARROW, (side * 92, 48, -172), (42, 5, 62), -side * 0.75)
    return found
