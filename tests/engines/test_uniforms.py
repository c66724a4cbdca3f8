import numpy as np

from storage.identity import digest
from tasks.engines.uniforms import keys_of, philox, uniforms


def test_philox_gives_the_published_words_for_counter_and_key_zero():
    # Known answer of Random123 for philox4x32, 10 rounds, counter 0, key 0.
    words = philox(np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.uint64))
    assert [int(word[0]) for word in words] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def test_a_number_depends_on_its_key_and_position_only():
    keys = keys_of([digest(number) for number in range(20)])
    whole = uniforms(keys, 0, 100)
    assert whole.shape == (20, 100)
    assert whole.dtype == np.float64
    np.testing.assert_array_equal(uniforms(keys[7:8], 30, 5), whole[7:8, 30:35])
    np.testing.assert_array_equal(uniforms(keys[::-1], 0, 100), whole[::-1])


def test_numbers_lie_in_the_unit_interval_and_are_spread_evenly():
    numbers = uniforms(keys_of([digest("spread", number) for number in range(400)]), 0, 250)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    expected = numbers.size / 100
    assert (((counts - expected) ** 2) / expected).sum() < 160  # chi squared, 99 degrees of freedom, p < 0.0001
    assert len(np.unique(numbers)) == numbers.size


def test_both_halves_of_the_key_matter():
    low, high = "0" * 8 + "00000001" + "0" * 16, "00000001" + "0" * 24
    first, second = uniforms(keys_of([low, high]), 0, 1)
    assert first != second
