from tasks.engines.batches import batches


def test_every_prompt_is_in_one_batch_and_lengths_fall():
    lengths = [(number * 7) % 23 + 1 for number in range(200)]
    groups = batches(lengths, room=10, most_rows=32, most_tokens=10**6)
    assert sorted(index for group in groups for index in group) == list(range(200))
    flat = [lengths[index] for group in groups for index in group]
    assert flat == sorted(lengths, reverse=True)
    assert max(map(len, groups)) <= 32


def test_two_large_lengths_are_never_padded_to_one():
    groups = batches([12, 19] * 100, room=10, most_rows=64, most_tokens=10**6)
    assert all(len({[12, 19][index % 2] for index in group}) == 1 for group in groups)


def test_a_token_limit_makes_batches_smaller_but_never_empty():
    assert [len(group) for group in batches([10, 10, 10, 10], room=10, most_rows=9, most_tokens=40)] == [2, 2]
    assert [len(group) for group in batches([1000, 2], room=10, most_rows=9, most_tokens=40)] == [1, 1]
    assert batches([], room=10, most_rows=9, most_tokens=40) == []
