"""What can be seen in a picture, as Rekognition says: off unless asked for, since each picture costs."""

from __future__ import annotations

from constructs import Construct

from infra_cdk.settings import Settings


class Labels(Construct):
    """Nothing of its own: the functions that take recordings in ask Rekognition themselves, up to a monthly cap.

    The cap is kept in the table, so that functions that run at the same time count together.
    """

    def __init__(self, scope: Construct, name: str, *, settings: Settings) -> None:
        super().__init__(scope, name)
        self.is_on = settings.label_detection
        self.environment = {
            "PITS_LABELS": "true" if settings.label_detection else "false",
            "PITS_LABELS_PER_MONTH": str(settings.label_images_per_month),
        }
