"""A registration code in letters of three lines, to be read from across a room."""

from __future__ import annotations

from typing import Final

# Five rows of pixels each; two rows make a line of half blocks. The letters of user codes have no vowels; digits and
# vowels are here for other homes' codes.
_ROWS: Final = 5
_FONT: Final[dict[str, str]] = {
    "A": ".##. #..# #### #..# #..#",
    "B": "###. #..# ###. #..# ###.",
    "C": ".### #... #... #... .###",
    "D": "###. #..# #..# #..# ###.",
    "E": "#### #... ###. #... ####",
    "F": "#### #... ###. #... #...",
    "G": ".### #... #.## #..# .###",
    "H": "#..# #..# #### #..# #..#",
    "I": "### .#. .#. .#. ###",
    "J": "..## ...# ...# #..# .##.",
    "K": "#..# #.#. ##.. #.#. #..#",
    "L": "#... #... #... #... ####",
    "M": "#...# ##.## #.#.# #...# #...#",
    "N": "#...# ##..# #.#.# #..## #...#",
    "O": ".##. #..# #..# #..# .##.",
    "P": "###. #..# ###. #... #...",
    "Q": ".##.. #..#. #..#. #.##. .####",
    "R": "###. #..# ###. #.#. #..#",
    "S": ".### #... .##. ...# ###.",
    "T": "##### ..#.. ..#.. ..#.. ..#..",
    "U": "#..# #..# #..# #..# .##.",
    "V": "#...# #...# .#.#. .#.#. ..#..",
    "W": "#...# #...# #.#.# ##.## #...#",
    "X": "#...# .#.#. ..#.. .#.#. #...#",
    "Y": "#...# .#.#. ..#.. ..#.. ..#..",
    "Z": "##### ...#. ..#.. .#... #####",
    "0": ".##. #.## #### ##.# .##.",
    "1": ".#. ##. .#. .#. ###",
    "2": "###. ...# .##. #... ####",
    "3": "###. ...# .##. ...# ###.",
    "4": "#..# #..# #### ...# ...#",
    "5": "#### #... ###. ...# ###.",
    "6": ".##. #... ###. #..# .##.",
    "7": "#### ...# ..#. .#.. .#..",
    "8": ".##. #..# .##. #..# .##.",
    "9": ".##. #..# .### ...# .##.",
    "-": "... ... ### ... ...",
}
_HALVES: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def big(text: str, width: int) -> str:
    """`text` in three lines of at most `width` characters; as it is where it does not fit or a letter is not known."""
    glyphs = [_FONT[letter].split() for letter in text.upper() if letter in _FONT]
    if len(glyphs) != len(text):
        return text
    rows = ["  ".join(glyph[row] for glyph in glyphs) for row in range(_ROWS)]
    rows.append("." * len(rows[0]))
    if len(rows[0]) > width:
        return text
    lines = zip(rows[::2], rows[1::2], strict=True)
    return "\n".join("".join(_HALVES[a == "#", b == "#"] for a, b in zip(*line, strict=True)) for line in lines)
