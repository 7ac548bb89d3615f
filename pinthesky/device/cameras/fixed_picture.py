"""For cameras that take no picture settings: their refusal, in one place."""

from __future__ import annotations

from pinthesky.errors import InvalidInput
from pinthesky.model.settings import PictureSettings


def refuse_picture_settings(picture: PictureSettings, camera: str) -> None:
    """Raise InvalidInput("picture.<field>", …) for the first field that is set; `camera` names it for people."""
    for field in picture.__struct_fields__:
        if getattr(picture, field) is not None:
            raise InvalidInput(f"picture.{field}", f"{camera} takes no picture settings")
