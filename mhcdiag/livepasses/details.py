"""What entered and left each site of a stack, for its first tokens, in the words of captured files."""

from itertools import pairwise

import numpy
from torch import Tensor

from mhcdiag.livepasses.calls import Call
from mhcdiag.livepasses.stacks import LiveStack

Floats = numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.float32]]


def site_details(stack: LiveStack) -> dict[str, Floats]:
    """`layers.{i}.x_in`, `x_out`, `branch` and `post` of every call, for as many tokens as were kept.

    Empty where the streams of some call were not seen. x_out is what left the block, or what entered the next site
    where no module stands between them. Where streams are mixed in parts, what a branch adds is no product of a vector
    with weights of streams: x_in alone is given then.
    """
    if any(call.x_in is None for call in stack.calls):
        return {}
    found: dict[str, Floats] = {}
    after: list[Call | None] = [following for _, following in pairwise(stack.calls)]
    for at, (call, following) in enumerate(zip(stack.calls, [*after, None], strict=True)):
        assert call.x_in is not None
        parts: dict[str, Tensor | None] = {"x_in": call.x_in}
        if stack.fractions == 1:
            left = call.x_out if call.x_out is not None or following is None else following.x_in
            is_known = left is not None and call.branch is not None and call.post is not None
            parts |= {"x_out": left, "branch": call.branch, "post": call.post} if is_known else {}
        for name, values in parts.items():
            assert values is not None
            whole = values.reshape(len(values), stack.maps(call).shape[-1], -1) if name == "x_in" else values
            found[f"layers.{at}.{name}"] = whole.float().cpu().numpy()
    return found
