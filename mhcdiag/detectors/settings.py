"""The constants of our rule, each with its reason."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """How far a point must stand out to open an event; half of either closes it again."""

    z: float
    """Robust standard deviations of the noise."""
    min_rise: float
    """Rise relative to the level."""


LOSS = Thresholds(z=6.0, min_rise=0.02)
"""Spikes of real pre-training are 5 to 110 % high. Below 2 % nobody acts on them, however small the noise is;
normal noise passes six deviations once in a billion points. Light-tailed series need no more; see `tails`
for the others."""

GRADIENT_NORM = Thresholds(z=5.0, min_rise=0.5)
"""The norm scatters by 10 to 30 % from batch to batch: half as much again is the least that is worth a look.
Its events explain those of the loss and fail no gate, so that one deviation less buys warning before the
loss moves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Constants of the default rule."""

    loss: Thresholds = LOSS
    """For the loss and every other series but the gradient norm."""
    gradient_norm: Thresholds = GRADIENT_NORM
    """For the gradient norm."""
    window: int = 128
    """Points of the baseline. Fewer than a hundred make the scale itself too noisy; more lag behind the
    curve."""
    warmup: int = 64
    """Points that are only learned from: the scale of 64 points is known to 15 %, and the steep start is
    over."""

    def thresholds(self, series: str) -> Thresholds:
        """Return the thresholds of a series by its name."""
        return self.gradient_norm if series == "grad_norm" else self.loss


def adjusted(
    *,
    z: float | None = None,
    min_rise: float | None = None,
    window: int | None = None,
    warmup: int | None = None,
) -> Settings:
    """Return the default settings with some constants replaced; thresholds given apply to every series."""
    base = Settings()

    def thresholds(default: Thresholds) -> Thresholds:
        return Thresholds(z=default.z if z is None else z, min_rise=default.min_rise if min_rise is None else min_rise)

    return replace(
        base,
        loss=thresholds(base.loss),
        gradient_norm=thresholds(base.gradient_norm),
        window=base.window if window is None else window,
        warmup=base.warmup if warmup is None else warmup,
    )
