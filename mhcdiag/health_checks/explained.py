"""Whether another reading of the weights explains captured streams better than the layout's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.health_checks.interface import Subject
from mhcdiag.results.health import Finding, Severity
from mhcdiag.weight_readers.records import Prediction, SiteActivations

BETTER = 10.0
"""How many times smaller another reading's error must be to be named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """Errors of the layout's own reading and of the best other one; the error is the largest over sites."""

    own: float
    best: float
    name: str
    """The best other reading."""

    def finding(self, subject: Subject, limits: Mapping[str, float], *, conforms: bool) -> list[Finding]:
        """What to say of it.

        Parameters
        ----------
        conforms
            Whether x_out follows the captured H, so that only the weights are in question.
        """
        if self.own <= limits["differs"]:
            return []
        size = f"off by {self.own:.2g} of |x|"
        if self.best * BETTER <= self.own:
            what = f"the running model follows {self.name} ({self.best:.2g}) rather than the layout ({size})"
            severity = Severity.FAIL if self.own > limits["error"] else Severity.WARN
            advice = "make the implementation agree with the checkpoint, or say so by --layout or --sinkhorn-iters"
        elif conforms and self.own > limits["unexplained"]:
            what = f"the captured H is not what these weights give by this layout ({size})"
            severity, advice = Severity.WARN, "captured from this very checkpoint? compare site by site"
        else:
            return []
        return [Finding(severity=severity, what=what, site=subject.sites[0], sites=len(subject.sites), advice=advice)]


def explain(subject: Subject) -> Explained | None:
    """Compare all readings; None where the layout makes no prediction."""
    predictions = {} if subject.predict is None else subject.predict()
    if not predictions:
        return None
    own, *others = [(name, _error(subject.activations, each)) for name, each in predictions.items()]
    name, best = min(others, key=lambda each: each[1], default=("", float("inf")))
    return Explained(own=own[1], best=best, name=name)


def _error(sites: Sequence[SiteActivations], prediction: Prediction) -> float:
    errors = []
    for site, maps, post in zip(sites, prediction.h_res, prediction.post, strict=True):
        x = site.x_in.double()
        size = x.square().mean().sqrt().clamp(min=1e-300)
        errors.append(float((maps.double() @ x - _mixed(site)).square().mean().sqrt() / size))
        if post is not None and site.post is not None:
            told = site.post.double()
            errors.append(float((post.double() - told).norm() / told.norm().clamp(min=1e-300)))
    return max(errors)


def _mixed(site: SiteActivations) -> Float[Tensor, "token stream width"]:
    """What mixing made of the streams: x_out without what was written, or H x where x_out was not captured."""
    if site.x_out is None:
        return site.h_res.double() @ site.x_in.double()
    return site.x_out.double() - written(site)


def written(site: SiteActivations) -> Float[Tensor, "token stream width"]:
    """Post times branch; zero where they were not captured."""
    if site.branch is None or site.post is None:
        return torch.zeros_like(site.x_in, dtype=torch.float64)
    return site.post.double()[..., None] * site.branch.double()[:, None, :]
