"""Numbers and arrays of other packages mean what Python's do."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
import xarray as xr

from patchwidget.errors import PatchError, SiteError
from patchwidget.given import checked_index, is_floating, plain, token_ids, whole


@pytest.mark.parametrize("make", [np.array, torch.tensor, pd.Series, pd.Index, pl.Series, xr.DataArray, list, tuple, iter])
def test_whatever_it_comes_in(make):
    assert list(plain(make([1, 2]))) == [1, 2]
    assert all(type(item) is int for item in plain(make([1, 2])))


def test_single_numbers_and_what_is_inside_of_others():
    for number in (np.int64(3), np.array(3), torch.tensor(3), 3):
        assert type(plain(number)) is int
    assert plain({"a": np.int64(1), "b": [np.array([2]), ("x", np.int8(3))]}) == {"a": 1, "b": [[2], ("x", 3)]}
    assert plain(range(3)) == [0, 1, 2]
    assert type(plain(np.str_("a"))) is str
    assert plain("ab") == "ab"
    assert plain(None) is None


def test_a_batch_of_one_is_a_prompt():
    assert token_ids(torch.tensor([[1, 2]])) == token_ids(np.array([1, 2])) == [1, 2]
    assert token_ids(torch.tensor([[1], [2]])) == [[1], [2]]
    assert is_floating(np.zeros(1, np.float32))
    assert is_floating(torch.zeros(1))
    assert not is_floating(np.zeros(1, int))
    assert not is_floating(torch.zeros(1, dtype=torch.long))


def test_indices_count_from_both_ends():
    assert [checked_index(i, 3, "Layer", "m has layers") for i in (0, 2, -1, -3)] == [0, 2, 2, 0]
    for value, match in [(3, "Layer 3 does not exist: m has layers 0 to 2"), (-4, "Layer -4"), (1.0, "Layer 1.0 is no whole number")]:
        with pytest.raises(SiteError, match=match):
            checked_index(value, 3, "Layer", "m has layers")


def test_whole_numbers():
    assert whole(np.int64(2), "window") == 2
    for value in (1.5, 0, "2", None):
        with pytest.raises(PatchError, match="window="):
            whole(value, "window")
