"""From an encoder to whoever takes its packets, in threads that are not ours and must not die of anything."""

from __future__ import annotations

import logging
import threading
from typing import Any, Callable

from pinthesky.device.cameras import annex_b
from pinthesky.device.ports import Packet

logger = logging.getLogger(__name__)

_SLICE, _SLICE_OF_IDR = 1, 5


class Delivery:
    """One stream's way to its sink, until it ends: by `end` in silence, by `lose` with one last word."""

    def __init__(self, sink: Callable[[Any], None], loss: Callable[[str], object]) -> None:
        """`loss` makes of a reason what the sink is told."""
        self._sink = sink
        self._loss = loss
        self._handing_over = threading.Lock()
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether nothing more is handed over."""
        return self._ended

    def hand_over(self, frame: object) -> None:
        """Give `frame` to the sink. Raises what the sink raises."""
        with self._handing_over:
            if not self._ended:
                self._sink(frame)

    def lose(self, reason: str) -> None:
        """Tell once that there will be no more. Raises nothing."""
        with self._handing_over:
            if self._ended:
                return
            self._ended = True
            try:
                self._sink(self._loss(reason))
            except Exception:
                logger.exception("a loss could not be told: %s", reason)

    def end(self) -> None:
        """Nothing is handed over after this."""
        with self._handing_over:
            self._ended = True


class PacketFeed:
    """Makes packets of an encoder's access units: none before the first keyframe, each keyframe with parameter sets."""

    def __init__(self, give: Callable[[Packet], None], lose: Callable[[str], None]) -> None:
        """`lose` hears the reason when a packet cannot be given, and must raise nothing."""
        self._give = give
        self._lose = lose
        self._parameter_sets = b""
        self._begun = False

    def take(self, data: bytes, timestamp_us: int) -> None:
        """For every access unit, in Annex B form, `timestamp_us` of the sensor's clock. Raises nothing."""
        try:
            kinds = annex_b.nal_types(data)
            if not kinds & {_SLICE, _SLICE_OF_IDR}:
                self._parameter_sets = annex_b.parameter_sets_of(data) or self._parameter_sets
                return
            is_keyframe = _SLICE_OF_IDR in kinds
            if is_keyframe:
                self._parameter_sets = annex_b.parameter_sets_of(data) or self._parameter_sets
                data = annex_b.with_parameter_sets(data, self._parameter_sets)
                self._begun = self._begun or annex_b.stands_alone(data)
            if self._begun:
                self._give(Packet(data, timestamp_us, is_keyframe))
        except Exception as error:
            logger.exception("a packet could not be handed over")
            self._lose(f"its packets cannot be taken over: {type(error).__name__}")
