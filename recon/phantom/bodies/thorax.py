"""A chest out of ellipsoids: lungs with vessels, heart, great vessels, ribs, upper abdomen."""

from __future__ import annotations

import math

import numpy as np

from .skeleton import CORTEX, MARROW, MUSCLE, Organ, beads, organ, ribs, spine

__all__ = ["thorax"]

_SKIN, _FAT, _LUNG, _BLOOD = 35.0, -100.0, -860.0, 45.0


def thorax() -> list[Organ]:
    """Return the organs [HU, mm], the later ones over the earlier."""
    return [*_trunk(), *_lungs(), *_mediastinum(), *_below_the_diaphragm(), *_bones()]


def _trunk() -> list[Organ]:
    found = organ(_SKIN, (0, 0, 0), (182, 122, 620)) + organ(_FAT, (0, 0, 0), (180, 120, 615))
    found += organ(MUSCLE, (0, 0, 0), (163, 104, 600))
    for side in (-1, 1):
        found += organ(_FAT, (side * 150, 20, 175), (60, 45, 70))  # armpit and shoulder
        found += organ(MUSCLE, (side * 155, 25, 190), (48, 36, 62))
        found += organ(_FAT, (side * 78, -98, 10), (62, 26, 80), side * 0.3)  # breast
        found += organ(45, (side * 80, -103, 4), (34, 11, 38), side * 0.3)
        found += organ(MUSCLE, (side * 78, -84, 70), (58, 12, 70), side * 0.35)  # pectoral
        found += organ(MUSCLE, (side * 33, 94, 0), (29, 18, 400))
    # within the ribs: fat between the lungs
    return found + organ(_FAT + 15, (0, -6, -10), (138, 84, 205))


def _lungs() -> list[Organ]:
    found = organ(_LUNG, (-72, 2, 2), (62, 77, 158), -0.12)
    found += organ(_LUNG, (76, 6, 6), (56, 73, 154), 0.14)
    found += organ(_LUNG + 25, (-76, 40, -35), (52, 38, 96))  # heavier where they lie
    found += organ(_LUNG + 25, (78, 42, -30), (48, 36, 92))
    rng = np.random.default_rng(20)
    for side, hilum in ((-1, (-34.0, 8.0, 2.0)), (1, (36.0, 10.0, 10.0))):
        for k in range(15):
            turn, rise = rng.uniform(-1.25, 1.25), rng.uniform(-1.0, 1.0)
            way = np.linspace(0.0, rng.uniform(42, 68), 5)
            x, y = side * way * math.cos(turn), way * math.sin(turn) + 0.004 * way**2
            path = np.array(hilum) + np.stack([x, y, 1.35 * way * rise], axis=1)
            width = rng.uniform(1.4, 3.0)
            found += beads(20.0, path[:3], width, width, 2.5 * width + 2)
            found += beads(0.0, path[2:], 0.55 * width, 0.55 * width, 2.5 * width + 2)
            if k % 5 == 0:
                airway = path[:3] + np.array([0, -4, 3])
                found += beads(-980.0, airway, 0.9 * width, 0.9 * width, 6.0)
    found += organ(30, (-96, -22, 34), (7, 6, 6.5))  # a nodule in the right lung
    return found + organ(-620, (92, 44, 62), (10, 8, 9))  # and ground glass in the left


def _mediastinum() -> list[Organ]:
    found = organ(_FAT + 15, (4, -14, 60), (36, 46, 105))
    found += organ(_FAT, (24, -30, -52), (71, 56, 66), 0.55)  # around the heart
    found += organ(_BLOOD, (22, -30, -50), (66, 51, 60), 0.55)
    found += organ(70, (46, -38, -58), (38, 31, 40), 0.7)  # left ventricle: muscle and its blood
    found += organ(_BLOOD - 5, (46, -38, -56), (25, 18, 29), 0.7)
    found += organ(_FAT + 30, (30, -66, -46), (26, 3, 34), 0.5)
    found += organ(_BLOOD - 5, (-22, -18, -32), (24, 28, 34))  # right atrium
    found += beads(_BLOOD, [(-20, -16, -10), (-22, -14, 50), (-14, -16, 120)], 10, 10, 8)  # cava
    arch = [(4, -14, -6), (-8, -24, 30), (-4, -20, 58), (12, 0, 70), (22, 24, 64), (24, 40, 40)]
    found += beads(_BLOOD, arch, 14, 14, 5)
    found += beads(_BLOOD, [(24, 40, 40), (22, 46, -20), (15, 44, -110), (10, 40, -190)], 12, 12, 8)
    found += beads(900.0, [(30, 28, 66), (33, 34, 58)], 1.6, 3.0, 4.0)  # calcified wall
    found += beads(_BLOOD, [(10, -34, 2), (14, -22, 30), (30, 4, 32)], 13, 12, 6)  # lung artery
    found += beads(_BLOOD, [(12, -16, 30), (-14, -4, 28), (-36, 6, 22)], 10, 10, 6)
    for x, y in ((-12, -20), (6, -10), (20, -4)):
        found += beads(_BLOOD, [(x, y, 75), (1.6 * x, y - 2, 165)], 5.0, 5.0, 8)
    windpipe = [(-1, 4, 170), (-1, 10, 45)]
    for hu, width in ((45.0, 10.0), (-990.0, 8.2)):
        found += beads(hu, windpipe, width, width, 5)
        for side in (-1, 1):
            branch = [(-1, 10, 46), (side * 18, 14, 26), (side * 40, 12, 8)]
            found += beads(hu, branch, width - 2.6, width - 2.6, 4)
    found += beads(40.0, [(6, 26, 170), (4, 30, 0), (14, 22, -110)], 7.5, 6.0, 9)  # gullet
    return found + beads(-700.0, [(6, 26, 120), (5, 28, 60)], 2.2, 1.6, 8)


def _below_the_diaphragm() -> list[Organ]:
    found = organ(58, (-62, -4, -182), (86, 86, 92))  # liver's dome, higher on the right
    found += organ(58, (10, -46, -190), (70, 46, 62))
    found += organ(120, (-40, 10, -170), (7, 30, 6), 0.6)
    found += organ(MUSCLE, (72, 4, -196), (66, 82, 82))
    found += organ(_FAT, (72, 4, -198), (62, 78, 80))
    found += organ(48, (62, -26, -178), (44, 34, 48), 0.3)  # stomach with air on top
    found += organ(-960, (62, -42, -174), (32, 13, 34), 0.3)
    return found + organ(52, (96, 42, -180), (26, 34, 42), -0.3)  # spleen


def _bones() -> list[Organ]:
    found = spine(63.0, 12.5 + 25.0 * np.arange(-8, 8), width=17.0, lumbar=False, sway=5.0)
    found += ribs(28.0 * np.arange(-4, 7) - 2.0, 144.0, 92.0, middle=-2.0, drop=62.0, bony=0.74)
    found += organ(CORTEX - 150, (0, -97, 30), (17, 6.5, 78))  # breastbone
    found += organ(MARROW - 60, (0, -97, 30), (14, 4.2, 75))
    for side in (-1, 1):
        blade = organ(CORTEX, (side * 104, 88, 82), (46, 3.6, 68), -side * 0.5)
        found += blade + organ(MARROW + 60, (side * 104, 88, 82), (40, 1.6, 60), -side * 0.5)
        bone = [(side * 16, -92, 122), (side * 70, -80, 138), (side * 130, -20, 150)]
        found += beads(CORTEX, bone, 6.0, 6.0, 9) + beads(MARROW, bone, 3.6, 3.6, 9)
        found += organ(CORTEX, (side * 152, 14, 168), (23, 23, 24))
        found += organ(MARROW, (side * 152, 14, 168), (20, 20, 21))
    return found
