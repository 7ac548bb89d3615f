"""What happens before the synthetic camera, and when: `quiet:5,walk:10,stall:8,…`."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple, Optional
from urllib.parse import parse_qsl

from pinthesky.errors import InvalidInput

FLAG = "--camera"
DEFAULT_SCRIPT = "quiet:10,walk:6,quiet:14,walk:8"
_ACTIONS_MAX = 200
_SECONDS_MAX = 86_400.0
_NUMBER = re.compile(r"^[0-9]{1,9}(\.[0-9]{1,6})?$")


class Action(enum.Enum):
    """Something that lasts a while, or that happens once."""

    QUIET = "quiet"
    WALK = "walk"
    """Somebody crosses the picture."""
    SPECK = "speck"
    """Something small and far away crosses the picture."""
    LAMP = "lamp"
    """A light is on; going on and off it is no motion."""
    STALL = "stall"
    """No frames, and no word of it."""
    LOSE = "lose"
    """The camera is lost; the next `open` finds it again."""
    HANG = "hang"
    """No frames, and `close` cannot end it."""


_INSTANT = frozenset((Action.LOSE,))


class Moment(NamedTuple):
    """A moment of the script."""

    action: Action
    elapsed_s: float
    """Since the action began."""
    length_s: float


class Script(NamedTuple):
    """Actions and how long each lasts, in seconds; one that happens once lasts 0."""

    actions: tuple[tuple[Action, float], ...]
    loop: bool = True

    @classmethod
    def parse(cls, text: str, *, loop: bool = True) -> Script:
        """Read `action:seconds,…`. Raises InvalidInput."""
        actions: list[tuple[Action, float]] = []
        for part in text.split(",", _ACTIONS_MAX):
            name, colon, seconds = part.partition(":")
            try:
                action = Action(name)
            except ValueError as error:
                known = ", ".join(one.value for one in Action)
                raise InvalidInput(FLAG, f"script: {name[:20]!r} is none of {known}") from error
            if action in _INSTANT:
                if colon:
                    raise InvalidInput(FLAG, f"script: {name} takes no seconds")
                actions.append((action, 0.0))
            else:
                actions.append((action, _number("script: " + name, seconds, most=_SECONDS_MAX)))
        if len(actions) > _ACTIONS_MAX or not sum(seconds for _, seconds in actions):
            raise InvalidInput(FLAG, f"script: must hold 1 to {_ACTIONS_MAX} actions that take time")
        return cls(tuple(actions), loop)

    @property
    def length_s(self) -> float:
        """One round."""
        return sum(seconds for _, seconds in self.actions)

    def at(self, time_s: float) -> Optional[Moment]:
        """What goes on at `time_s`; None after the end of a script that does not loop."""
        if time_s >= self.length_s and not self.loop:
            return None
        left_s = time_s % self.length_s
        for action, seconds in self.actions:
            if left_s < seconds:
                return Moment(action, left_s, seconds)
            left_s -= seconds
        return Moment(self.actions[-1][0], 0.0, self.actions[-1][1])

    def losses_between(self, begin_s: float, end_s: float) -> int:
        """How often the camera is lost in (begin_s, end_s]."""
        return self._losses_until(end_s) - self._losses_until(begin_s)

    def _losses_until(self, time_s: float) -> int:
        if time_s < 0:
            return 0
        rounds, left_s = divmod(time_s, self.length_s)
        if not self.loop and rounds >= 1:
            rounds, left_s = 1, -1.0
        losses, begin_s = 0, 0.0
        for action, seconds in self.actions:
            losses += (action is Action.LOSE) * (int(rounds) + (begin_s <= left_s))
            begin_s += seconds
        return losses


class SyntheticAddress(NamedTuple):
    """`synthetic`, or `synthetic:?script=…&loop=0|1&seed=N&speed=X&epoch=S`."""

    script: Script
    seed: int = 1
    speed: float = 1.0
    """Times real time."""
    epoch_s: Optional[float] = None
    """Second of the monotonic clock at which the script and the numbers begin; the first `start` when None.

    Processes that share it continue one another's numbers, as tests that kill the daemon need.
    """

    @classmethod
    def parse(cls, text: str) -> SyntheticAddress:
        """Read the address. Raises InvalidInput that names the option."""
        if text in ("synthetic", "synthetic:"):
            return cls(Script.parse(DEFAULT_SCRIPT))
        if not text.startswith("synthetic:?"):
            raise InvalidInput(FLAG, f"must be synthetic or synthetic:?option=value&…, got {text[:40]!r}")
        try:
            pairs = parse_qsl(
                text[len("synthetic:?") :], keep_blank_values=True, strict_parsing=True, max_num_fields=10
            )
        except ValueError as error:
            raise InvalidInput(FLAG, "after synthetic:? there must be option=value, joined by &") from error
        options = dict(pairs)
        unknown = set(options) - {"script", "loop", "seed", "speed", "epoch"}
        if unknown or len(options) != len(pairs):
            raise InvalidInput(FLAG, "synthetic takes script, loop, seed, speed and epoch, each once")
        if options.get("loop", "1") not in ("0", "1"):
            raise InvalidInput(FLAG, f"loop: must be 0 or 1, got {options['loop'][:20]!r}")
        epoch = options.get("epoch")
        return cls(
            Script.parse(options.get("script", DEFAULT_SCRIPT), loop=options.get("loop", "1") == "1"),
            seed=int(_number("seed", options.get("seed", "1"), most=2**31 - 1, whole=True)),
            speed=_number("speed", options.get("speed", "1"), most=100.0),
            epoch_s=None if epoch is None else _number("epoch", epoch, most=1e9),
        )


def _number(name: str, text: str, *, most: float, whole: bool = False) -> float:
    value = float(text) if _NUMBER.match(text) else 0.0
    if not 0 < value <= most or (whole and value % 1):
        kind = "a whole number" if whole else "a number"
        raise InvalidInput(FLAG, f"{name}: must be {kind} above 0, at most {most:g}, got {text[:20]!r}")
    return value
