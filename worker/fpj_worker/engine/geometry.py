"""How large a derivative becomes, and which part of the image it shows. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fpj_core.model import Fit, TierSpec


@dataclass(frozen=True, slots=True)
class Placement:
    """Scale the whole image to ``width`` x ``height``,
    then cut ``crop_width`` x ``crop_height`` out of it.
    """

    width: int
    height: int
    crop_width: int
    crop_height: int

    @property
    def cropped(self) -> bool:
        """Whether anything is cut away."""
        return (self.crop_width, self.crop_height) != (self.width, self.height)


def by_size(placement: Placement) -> tuple[int, int]:
    """What to order placements by: of a narrow picture many tiers have one width."""
    return placement.width, placement.height


def place(width: int, height: int, tier: TierSpec) -> Placement:
    """Where an upright image of ``width`` x ``height`` pixels lands in the tier's box.

    Never larger than it is.
    """
    box_width, box_height = tier.box
    across, down = box_width / width, box_height / height
    scale = min(1.0, min(across, down) if tier.fit is Fit.INSIDE else max(across, down))
    scaled_width = max(1, round(width * scale))
    scaled_height = max(1, round(height * scale))
    if tier.fit is Fit.INSIDE:
        return Placement(scaled_width, scaled_height, scaled_width, scaled_height)
    return Placement(
        scaled_width, scaled_height, min(box_width, scaled_width), min(box_height, scaled_height)
    )
