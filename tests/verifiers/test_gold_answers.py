"""Every gold answer of the public sets passes its own verifier, and those of other problems do not."""

import pytest

from benchmarks.gold_answers import SETS, check, data_folder
from tasks.judgements import Means
from tasks.verifier_pool import VerifierPool

SIZES = {"GSM8K": 8_792, "ARC-Challenge": 2_582, "CommonsenseQA": 10_962, "MATH500": 500}
EQUAL_IN_VALUE = {("MATH500", "math"): 1}
"""Golds of two problems that are written differently and mean the same: 5, and x=5."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        data_folder() is None,
        reason="the public sets are not here: set STARLOOP_DATA_DIR, or put them in ../shared/data beside the checkout",
    ),
]


@pytest.fixture(scope="module")
def means(tmp_path_factory):
    with VerifierPool(tmp_path_factory.mktemp("logs")) as pool:
        yield Means(pool)


@pytest.mark.parametrize(
    ("one", "verifier"),
    [(one, verifier) for one in SETS for verifier in one.verifiers],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_every_gold_answer_passes_and_three_others_do_not(one, verifier, means):
    data = data_folder()
    assert data is not None
    found = check(one, verifier, data, means)
    assert found.problems == SIZES[one.name]
    assert found.passed == found.problems, found.exceptions[:5]
    assert found.others + found.equal == 3 * found.problems
    assert len(found.exceptions) == EQUAL_IN_VALUE.get((one.name, verifier), 0), found.exceptions[:5]
    assert found.rejected == found.others - len(found.exceptions)
