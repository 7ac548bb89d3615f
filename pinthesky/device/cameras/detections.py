"""From what a network on the sensor has found to labels of the picture as shown, and not too many of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

import numpy as np

from pinthesky.device.ports import Label, Labeller, Labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE_MIN = 0.55
"""What such a network is less sure of is as often wrong as right; picamera2's own examples draw the line here too."""
LABELS_MAX = 10
LOOK_EVERY_US = 250_000
PAUSE_US = 1_000_000
"""After something was found: a clip keeps the surest finding of each name, so more of them would be no news."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class Network(NamedTuple):
    """What is known of a network that recognises objects (an SSD with its post-processing)."""

    names: tuple[str, ...] = ()
    """By class; empty where the network brings none."""
    rows_first: bool = True
    """Whether a box is top, left, bottom, right; else left, top, right, bottom."""
    box_unit: float = 1.0
    """What a box's coordinates are divided by to be parts of what the network saw: its input's pixels, or 1."""


class Detections:
    """Looks at some of the pictures, never more than four a second, and after a finding not for a second."""

    def __init__(self, labeller: Labeller[Any], seen: Callable[[Any], Any]) -> None:
        """`seen` gives what the labeller looks at, of one of the library's requests; it costs time."""
        self._labeller = labeller
        self._seen = seen
        self._due_us: Optional[int] = None

    def look(self, request: Any, timestamp_us: int) -> Optional[Labels]:
        """What is in the picture; None where nothing is, or where it is not looked at."""
        if self._due_us is not None and timestamp_us < self._due_us:
            return None
        found = tuple(self._labeller.labels(self._seen(request)))
        self._due_us = timestamp_us + (PAUSE_US if found else LOOK_EVERY_US)
        return Labels(found, timestamp_us) if found else None


def ssd_labels(
    outputs: Sequence[NDArray[Any]], network: Network, *, crop: Box = (0.0, 0.0, 1.0, 1.0), rotation_left: int = 0
) -> list[Label]:
    """Labels of the network's outputs: boxes (n, 4), scores (n,), classes (n,); the surest first, ten at most.

    `crop` is the picture, in parts of what the network saw, which is all of the sensor. What lies outside the picture,
    has no name ("-"), or is no number is left out. Raises ValueError for outputs of another shape.
    """
    if len(outputs) < 3:
        raise ValueError(f"a network with {len(outputs)} outputs is no object detector")
    boxes, scores, classes = (np.asarray(output, dtype=float) for output in outputs[:3])
    scores, classes = scores.reshape(-1), classes.reshape(-1)
    if boxes.shape != (len(scores), 4) or classes.shape != scores.shape:
        raise ValueError(f"outputs of the shapes {boxes.shape}, {scores.shape}, {classes.shape} are no detections")
    found: list[Label] = []
    for index in np.argsort(-scores, kind="stable"):
        # Compared this way round so that what is no number is not sure either.
        if not scores[index] >= CONFIDENCE_MIN or len(found) == LABELS_MAX:
            break
        name = _name(classes[index], network.names)
        box = _box(boxes[index] / network.box_unit, network, crop)
        if name is not None and box is not None:
            found.append(Label(name, min(1.0, float(scores[index])), _turned(box, rotation_left)))
    return found


def _name(number: float, names: Sequence[str]) -> Optional[str]:
    if not np.isfinite(number) or number < 0:
        return None
    if not names:
        return f"class {int(number)}"
    return names[int(number)] if number < len(names) and names[int(number)] not in ("", "-") else None


def _box(values: NDArray[Any], network: Network, crop: Box) -> Optional[Box]:
    """In parts of the picture; None where nothing of it is in there."""
    if not np.isfinite(values).all():
        return None
    top, left, bottom, right = values if network.rows_first else values[[1, 0, 3, 2]]
    width, height = crop[2] - crop[0], crop[3] - crop[1]
    across = np.clip(((left - crop[0]) / width, (right - crop[0]) / width), 0.0, 1.0)
    down = np.clip(((top - crop[1]) / height, (bottom - crop[1]) / height), 0.0, 1.0)
    if across[0] >= across[1] or down[0] >= down[1]:
        return None
    return (float(across[0]), float(down[0]), float(across[1]), float(down[1]))


def _turned(box: Box, degrees: int) -> Box:
    """The box in the picture turned clockwise."""
    left, top, right, bottom = box
    if degrees == 90:
        return (1 - bottom, left, 1 - top, right)
    if degrees == 180:
        return (1 - right, 1 - bottom, 1 - left, 1 - top)
    if degrees == 270:
        return (top, 1 - right, bottom, 1 - left)
    return box
