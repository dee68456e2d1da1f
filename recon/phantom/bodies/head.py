"""A head out of ellipsoids: skull, brain with ventricles and a haemorrhage, face, neck."""

from __future__ import annotations

import math

import numpy as np

from .skeleton import Organ, beads, organ, spine

__all__ = ["head"]

_SKIN, _FAT, _MUSCLE, _BONE, _DIPLOE = 40.0, -90.0, 55.0, 1150.0, 600.0
_TURN, _LEAN = 0.06, 0.03  # rad: it does not lie quite straight
_GREY, _WHITE, _FLUID, _AIR = 38.0, 29.0, 7.0, -990.0


def head() -> list[Organ]:
    """Return the organs [HU, mm], the later ones over the earlier."""
    straight = [*_outside(), *_skull(), *_brain(), *_base(), *_face(), *_neck()]
    cosine, sine = math.cos(_TURN), math.sin(_TURN)
    return [
        (hu, (x * cosine - y * sine + _LEAN * z, x * sine + y * cosine, z), axes, turn + _TURN)
        for hu, (x, y, z), axes, turn in straight
    ]


def _outside() -> list[Organ]:
    found = organ(_SKIN, (0, 32, -120), (60, 58, 170)) + organ(_FAT, (0, 32, -120), (58, 56, 168))
    found += organ(_MUSCLE, (0, 34, -120), (52, 50, 160))
    for hu, thinner in ((_SKIN, 0.0), (_FAT, 2.0), (_MUSCLE, 7.0)):
        found += organ(hu, (0, -38, -48), (69 - thinner, 69 - thinner, 86 - thinner))  # face
        found += organ(hu, (0, 40, -16), (70 - thinner, 62 - thinner, 58 - thinner))
        found += organ(hu, (0, 0, 28), (79 - thinner, 101 - thinner, 96 - thinner))
    for side in (-1, 1):  # ears
        found += organ(_SKIN, (side * 73, 14, -22), (6, 16, 30), side * 0.35)
    return found


def _skull() -> list[Organ]:
    found: list[Organ] = []
    for hu, thinner in ((_BONE, 0.0), (_DIPLOE, 2.0), (_BONE, 4.5)):
        found += organ(hu, (0, 38, -14), (62 - thinner, 55 - thinner, 48 - thinner))  # occiput
        found += organ(hu, (0, 0, 28), (73 - thinner, 95 - thinner, 88 - thinner))
    return found


def _brain() -> list[Organ]:
    found: list[Organ] = []
    for hu, thinner in ((_FLUID, 0.0), (_GREY, 2.0)):
        found += organ(hu, (0, 38, -14), (55.5 - thinner, 48.5 - thinner, 41.5 - thinner))
        found += organ(hu, (0, 0.5, 28), (66.5 - thinner, 88 - thinner, 81.5 - thinner))
    for side in (-1, 1):
        found += organ(_WHITE, (side * 30, 0, 32), (25, 68, 48), side * 0.08)
        for k in range(-4, 5):  # gyri: white matter reaching outward
            turn = 0.33 * k
            x, y = side * (30 + 22 * math.cos(turn)), 58 * math.sin(turn)
            found += organ(_WHITE, (x, y, 34), (16, 6.5, 36), side * turn)
            turn += 0.16
            x, y = side * 63 * math.cos(turn), 84 * math.sin(turn)
            found += organ(_FLUID, (x, y, 38), (7, 1.4, 30), side * turn)
        found += organ(_GREY, (side * 27, 4, 14), (9, 19, 14), -side * 0.25)  # deep nuclei
        found += organ(_GREY, (side * 14, 18, 12), (8, 13, 10), side * 0.4)
        found += organ(_WHITE, (side * 20, 10, 13), (2.2, 20, 14), -side * 0.35)
    found += organ(_GREY, (0, 0, 66), (2.6, 80, 40)) + organ(_FLUID, (0, 0, 70), (1.2, 82, 38))
    found += organ(60, (0, 62, 60), (1.4, 24, 45))  # falx
    found += organ(62, (0, 84, 34), (5, 5, 44))  # sinus
    found += organ(_WHITE, (0, -2, 34), (16, 36, 7))  # between the halves
    for side, wide in ((-1, 1.0), (1, 1.25)):  # ventricles; the left is wider
        found += organ(_FLUID, (side * 10, -20, 26), (5.5 * wide, 17, 13), side * 0.3)
        found += organ(_FLUID, (side * 12, 6, 33), (6 * wide, 26, 7), -side * 0.12)
        found += organ(_FLUID, (side * 23, 36, 20), (6 * wide, 20, 13), -side * 0.4)
        found += organ(300, (side * 23, 34, 19), (2.5, 5, 3), -side * 0.4)  # calcified plexus
        found += organ(_FLUID, (side * 58, -18, 6), (9, 3, 18), -side * 0.6)  # Sylvian fissure
    found += organ(_FLUID, (0, 14, 12), (2.2, 13, 11)) + organ(350, (0, 30, 14), (2.4, 2.4, 2.4))
    found += organ(_FLUID, (0, 36, 4), (17, 9, 10)) + organ(_FLUID, (0, -14, -14), (15, 11, 9))
    found += organ(_WHITE + 3, (0, 18, -22), (15, 14, 30)) + organ(_FLUID, (0, 36, -28), (7, 4, 9))
    for side in (-1, 1):
        found += organ(_GREY + 2, (side * 24, 52, -26), (27, 30, 24), side * 0.3)
        found += organ(_WHITE + 2, (side * 22, 50, -26), (14, 17, 13), side * 0.3)
    found += organ(_FLUID, (0, 60, -24), (2, 26, 17))
    found += organ(22, (36, 12, 48), (18, 24, 17), 0.5) + organ(68, (36, 12, 48), (12, 17, 12), 0.5)
    return found + organ(16, (-48, 28, 40), (14, 22, 16), -0.3)  # bleeding left, old stroke right


def _base() -> list[Organ]:
    found = organ(_BONE - 300, (0, -34, -26), (30, 30, 9))
    found += organ(_BONE - 200, (0, 2, -38), (14, 24, 12))
    found += organ(_AIR, (-7, -18, -32), (7, 11, 9)) + organ(_AIR, (8, -18, -33), (6, 12, 10))
    for side in (-1, 1):
        found += organ(_BONE + 350, (side * 38, 16, -32), (29, 9, 10), side * 0.55)  # petrous bone
        found += organ(_BONE, (side * 64, 24, -34), (9, 19, 19), -side * 0.1)
        for k in range(6):  # mastoid cells
            place = (side * (60 + 3 * (k % 3)), 18 + 5 * (k // 2), -30 - 4 * (k % 3))
            found += organ(-800, place, (2.4, 3.0, 3.4))
        found += organ(_AIR, (side * 70, 10, -34), (12, 3, 3.2))  # ear canal
        found += organ(_BONE - 200, (side * 46, -28, -18), (28, 4, 14), side * 0.35)  # wing
    return found


def _face() -> list[Organ]:
    found = organ(_SKIN, (0, -106, -44), (15, 14, 24)) + organ(_AIR, (-5, -103, -50), (4, 11, 14))
    found += organ(_AIR, (5, -103, -50), (4, 11, 14))  # nose
    found += organ(_BONE, (0, -90, 8), (26, 7, 15)) + organ(_AIR, (-9, -90, 8), (10, 4, 11))
    found += organ(_AIR, (10, -90, 5), (8, 3.6, 8))  # frontal sinuses, unequal
    for side in (-1, 1):
        found += organ(_BONE - 100, (side * 31, -66, -22), (21, 26, 21), side * 0.15)
        found += organ(_FAT, (side * 31, -68, -22), (18.5, 25.5, 18.5), side * 0.15)
        found += organ(_SKIN, (side * 31, -80, -22), (12.4, 12.4, 12.4))  # eye, lens, nerve
        found += organ(10, (side * 31, -80, -22), (11.4, 11.4, 11.4))
        found += organ(85, (side * 31, -89, -22), (4.4, 2.2, 4.4))
        nerve = [(side * 31, -68, -22), (side * 24, -56, -22), (side * 12, -44, -22)]
        found += beads(40, nerve, 2.4, 2.4, 5)
        for offset in (-9, 9):
            muscle = [(side * 31 + offset, -76, -22), (side * 24, -50, -22)]
            found += beads(55, muscle, 1.8, 3.5, 6)
        found += organ(_BONE, (side * 28, -72, -58), (19, 21, 20))
        found += organ(_AIR if side < 0 else -960, (side * 28, -72, -58), (17, 19, 18))
        cheek = [(side * 50, -74, -50), (side * 66, -48, -46), (side * 70, -10, -42)]
        found += beads(_BONE - 100, cheek, 3.4, 5.0, 8)
        jaw = [(side * 54, -4, -50), (side * 52, -6, -90), (side * 40, -44, -104), (0, -80, -108)]
        found += beads(_BONE, jaw, 6.0, 10.0, 8) + beads(_DIPLOE, jaw, 3.4, 7.0, 8)
    found += organ(20, (33, -62, -68), (12, 13, 8))  # fluid in the left sinus
    for x in (-6.5, 6.5):
        found += organ(_AIR, (x, -66, -52), (5.2, 26, 16))
    found += organ(_BONE - 300, (0, -66, -50), (1.2, 24, 16))
    teeth = np.radians(np.linspace(-72, 72, 14))
    for z in (-88.0, -98.0):
        for t in teeth:
            place = (31 * math.sin(t), -52 - 30 * math.cos(t), z)
            found += organ(1900.0, place, (3.6, 4.2, 5.6), t)
    return found + organ(_MUSCLE, (0, -46, -98), (24, 28, 13))  # tongue


def _neck() -> list[Organ]:
    found = spine(26.0, 17.0 * np.arange(-7, 0) - 46.0, width=11.0, lumbar=True, sway=-4.0)
    found += beads(_AIR, [(0, -22, -62), (0, -12, -96), (0, -10, -190)], 8.5, 8.0, 9)
    for side in (-1, 1):
        found += organ(_MUSCLE + 5, (side * 38, 20, -150), (10, 20, 70), side * 0.5)
        found += beads(48, [(side * 26, 4, -60), (side * 24, 0, -190)], 5.0, 6.0, 10)
        found += beads(46, [(side * 34, 8, -60), (side * 32, 4, -190)], 6.0, 6.0, 10)
        found += organ(105, (side * 18, -12, -158), (8, 11, 21))  # thyroid
    return found + beads(300.0, [(-14, -14, -122), (0, -26, -122), (14, -14, -122)], 2.0, 3.0, 6)
