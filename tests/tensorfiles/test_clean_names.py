"""Wrappers' components leave names; honest components stay."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.names import clean_names


@pytest.mark.parametrize(
    ("full", "clean"),
    [
        ("_orig_mod.w", "w"),
        ("module.w", "w"),
        ("module._orig_mod.w", "w"),
        ("_orig_mod.module.w", "w"),
        ("module.module.w", "w"),
        ("layers.0._orig_mod.attn.w", "layers.0.attn.w"),
        ("_orig_mod.layers.0._orig_mod.w", "layers.0.w"),
        ("_orig_mod._orig_mod.w", "w"),
        ("_fsdp_wrapped_module.layers.1._checkpoint_wrapped_module.w", "layers.1.w"),
        ("layers.0.module.w", "layers.0.module.w"),
        ("my_orig_mod.w", "my_orig_mod.w"),
        ("modules.w", "modules.w"),
        ("_orig_mod", "_orig_mod"),
    ],
)
def test_components_of_wrappers(full: str, clean: str) -> None:
    assert clean_names([full], path="model.pt") == {clean: full}


def test_module_stays_unless_all_names_begin_with_it() -> None:
    names = ["module.w", "head.w"]
    assert clean_names(names, path="model.pt") == {name: name for name in names}


def test_two_tensors_of_one_clean_name_are_refused() -> None:
    message = "model.pt: tensors 'w' and '_orig_mod.w' are both 'w' without the prefixes of wrappers"
    with pytest.raises(ContainerError, match=message):
        clean_names(["w", "_orig_mod.w"], path="model.pt")


names = st.lists(st.sampled_from(["a", "b", "0", "module", "_orig_mod"]), min_size=1, max_size=4).map(".".join)


@settings(deadline=None)
@given(full_names=st.lists(names, unique=True, max_size=5))
def test_cleaning_keeps_all_tensors_in_order_and_is_done_after_once(full_names: list[str]) -> None:
    try:
        clean = clean_names(full_names, path="model.pt")
    except ContainerError:
        return
    assert list(clean.values()) == full_names
    assert list(clean_names(clean, path="model.pt")) == list(clean)
