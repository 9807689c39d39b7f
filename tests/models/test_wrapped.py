"""A wrapped model refuses to be copied, and says what to do instead."""

import copy
import pickle

import pytest

import patchwidget as pw
from tests.zoo import tiny_experiment


def test_what_can_not_be_copied_says_what_to_do():
    experiment = tiny_experiment()
    for take in (pickle.dumps, copy.deepcopy):
        with pytest.raises(pw.ModelError, match=r"A model can't be copied or pickled.*pw.wrap\(hf, tokenizer\)"):
            take(experiment.model)
        with pytest.raises(pw.PatchError, match=r"An experiment can't be copied or pickled.*result.save\(path\)"):
            take(experiment)
    result = experiment.sweep("z", layers=[0], positions="all")
    assert pickle.loads(pickle.dumps(result)).values.equals(result.values)
