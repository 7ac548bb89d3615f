"""The pictures of the synthetic camera: a textured yard, things that move, and a strip that says which picture it is.

The strip is the lowest eighth of the picture. Its upper half holds the time in digits, its lower half the picture's
number as CELLS black and white blocks: white black, 24 bits of the number, 8 bits of CRC-8, black white. Blocks are
large enough to survive hard compression and scaling. The strip changes with every picture, so it must not count as
motion: the camera's luma frames show it as one grey, and for the same pictures from elsewhere STRIP is the mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pinthesky.device.cameras.script import Action, Moment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pinthesky.model.settings import Polygon

STRIP_TOP = 875
"""Upper border of the strip in thousandths of the height."""
BARS_TOP = 937
STRIP: Polygon = [(0, STRIP_TOP), (1000, STRIP_TOP), (1000, 1000), (0, 1000)]
"""The strip as a polygon of the picture before it is turned."""
NUMBER_BITS = 24
CRC_BITS = 8
CELLS = 2 + NUMBER_BITS + CRC_BITS + 2
_STRIP_GREY = 96

_WHITE, _BLACK = 235, 16
_NOISE_PLANES = 7
_NOISE_SIGMA = 1.2
_CRC_POLYNOMIAL = 0x07
"""CRC-8 of ITU-T I.432.1, without its final XOR."""
_GLYPHS: dict[str, tuple[str, ...]] = {
    "0": ("###", "#.#", "#.#", "#.#", "###"),
    "1": (".#.", "##.", ".#.", ".#.", "###"),
    "2": ("###", "..#", "###", "#..", "###"),
    "3": ("###", "..#", "###", "..#", "###"),
    "4": ("#.#", "#.#", "###", "..#", "..#"),
    "5": ("###", "#..", "###", "..#", "###"),
    "6": ("###", "#..", "###", "#.#", "###"),
    "7": ("###", "..#", "..#", "..#", "..#"),
    "8": ("###", "#.#", "###", "#.#", "###"),
    "9": ("###", "#.#", "###", "..#", "###"),
    ":": ("...", ".#.", "...", ".#.", "..."),
    ".": ("...", "...", "...", "...", ".#."),
    "#": ("#.#", "###", "#.#", "###", "#.#"),
    " ": ("...", "...", "...", "...", "..."),
}


def crc8(number: int) -> int:
    """CRC-8 of the number's 24 bits, most significant first."""
    crc = 0
    for shift in (16, 8, 0):
        crc ^= number >> shift & 0xFF
        for _ in range(8):
            crc = (crc << 1 ^ _CRC_POLYNOMIAL) & 0xFF if crc & 0x80 else crc << 1
    return crc


def cells_of(number: int) -> list[bool]:
    """The blocks for `number` (its lowest 24 bits), white is True."""
    number &= (1 << NUMBER_BITS) - 1
    word = number << CRC_BITS | crc8(number)
    bits = [bool(word >> shift & 1) for shift in range(NUMBER_BITS + CRC_BITS - 1, -1, -1)]
    return [True, False, *bits, False, True]


class Scene:
    """Paints pictures of one size. The same seed, number, time and moment give the same picture."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self._width, self._height = width, height
        self._strip_row = height * STRIP_TOP // 1000
        self._bars_row = height * BARS_TOP // 1000
        yard = _yard(random, width, height)
        self._yards: list[NDArray[Any]] = []
        for _ in range(_NOISE_PLANES):
            noise = random.standard_normal((height, width), np.float32) * _NOISE_SIGMA
            self._yards.append(np.clip(yard + noise, _BLACK, _WHITE).astype(np.uint8))
        self._person = _texture(random, max(8, height * 2 // 5), max(4, height // 8), greys=(30, 110))
        self._speck = _texture(random, max(3, height // 40), max(3, height // 40), greys=(20, 40))
        tint = np.linspace(0, 10, width // 2).astype(np.uint8)
        self._chroma = np.concatenate(
            [
                np.broadcast_to(118 + tint, (height // 2, width // 2)).reshape(-1),
                np.broadcast_to(130 - tint, (height // 2, width // 2)).reshape(-1),
            ]
        )

    def scenery(self, number: int, moment: Moment) -> NDArray[np.uint8]:
        """The picture as yuv420p, uint8 (height * 3 / 2, width), in video range; the strip is still empty."""
        planes = np.empty((self._height * 3 // 2, self._width), np.uint8)
        luma = planes[: self._height]
        luma[:] = self._yards[number % _NOISE_PLANES]
        planes[self._height :].reshape(-1)[:] = self._chroma
        if moment.action is Action.LAMP:
            np.minimum(luma.astype(np.uint16) * 5 // 4 + 8, _WHITE, out=luma, casting="unsafe")
        elif moment.action is Action.WALK:
            self._paint(luma, self._person, moment, floor=self._strip_row - self._height // 20)
        elif moment.action is Action.SPECK:
            self._paint(luma, self._speck, moment, floor=self._height // 3)
        luma[self._strip_row :] = _STRIP_GREY
        return planes

    def write_strip(self, planes: NDArray[np.uint8], number: int, time_s: float) -> None:
        """Write the time and the number into a picture from `scenery`."""
        luma = planes[: self._height]
        edges = [cell * self._width // CELLS for cell in range(CELLS + 1)]
        for white, begin, end in zip(cells_of(number), edges, edges[1:]):
            luma[self._bars_row :, begin:end] = _WHITE if white else _BLACK
        seconds, milliseconds = divmod(round(time_s * 1000), 1000)
        text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d} #{number}"
        scale = max(1, (self._bars_row - self._strip_row - 2) // 5)
        glyphs = np.kron(_text(text), np.ones((scale, scale), np.uint8))
        row = self._strip_row + (self._bars_row - self._strip_row - glyphs.shape[0]) // 2
        fits = min(glyphs.shape[1], self._width - scale)
        area = luma[row : row + glyphs.shape[0], scale : scale + fits]
        area[glyphs[: area.shape[0], :fits] > 0] = _WHITE

    def _paint(self, luma: NDArray[Any], thing: NDArray[Any], moment: Moment, *, floor: int) -> None:
        height, width = thing.shape
        progress = moment.elapsed_s / moment.length_s
        # Part of it is in the picture from the first frame on, to the last.
        left = round((self._width - width // 2) * progress) - width // 4
        sway = round(height * 0.02 * np.sin(moment.elapsed_s * 12))
        top = max(0, floor - height + sway)
        first, last = max(0, left), min(self._width, left + width)
        if first < last:
            luma[top : top + height, first:last] = thing[: self._strip_row - top, first - left : last - left]


def _yard(random: np.random.Generator, width: int, height: int) -> NDArray[Any]:
    """Patches of three sizes over a slope from dark to light."""
    ground = np.linspace(70, 150, height, dtype=np.float32)[:, None] + np.zeros((1, width), np.float32)
    for cell, depth in ((64, np.float32(18)), (16, np.float32(10)), (4, np.float32(5))):
        coarse = random.standard_normal((height // cell + 2, width // cell + 2), np.float32) * depth
        ground += np.kron(coarse, np.ones((cell, cell), np.float32))[:height, :width]
    return ground


def _texture(random: np.random.Generator, height: int, width: int, *, greys: tuple[int, int]) -> NDArray[Any]:
    """Random blocks; `greys` are the darkest and one above the lightest."""
    cell = max(1, width // 6)
    coarse = random.integers(*greys, (height // cell + 1, width // cell + 1))
    return np.kron(coarse, np.ones((cell, cell)))[:height, :width].astype(np.uint8)


def _text(text: str) -> NDArray[Any]:
    columns = [
        np.array([[character == "#" for character in row + "."] for row in _GLYPHS[letter]], np.uint8)
        for letter in text
    ]
    return np.concatenate(columns, axis=1)
