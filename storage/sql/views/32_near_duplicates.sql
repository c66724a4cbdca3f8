-- Examples of a training set that say nearly the same: select * from near_duplicates(mix_id). One row a pair: `same words`
-- (equal but for case, punctuation and wrapping; each with the first of its kind), or `overlap`, where at least
-- `threshold` of the shorter one's runs of n words stand in the longer one (`containment`; `jaccard` is their share of both).
-- Runs that more than 50 examples have in common, such as a template's, bring no pair together, but count in its shares.
create or replace macro near_duplicates(mix, n := 5, threshold := 0.8) as table
with text as materialized (
    select example_id, words(prompt || chr(10) || completion) as words
    from example
    where example_id in (select mm.example_id from mix_member mm where mm.mix_id = mix)
),
whole as (
    select example_id, min(example_id) over (partition by hash(words)) as first_id from text
),
given as materialized (
    select t.example_id,
        list_distinct(list_transform(range(greatest(len(words) - n + 1, 1)), lambda i: hash(words[i + 1:i + n]))) as grams
    from text t join whole w on w.first_id = t.example_id and w.example_id = t.example_id
),
gram as materialized (
    select example_id, unnest(grams) as gram from given
),
telling as (
    select gram from gram group by gram having count(*) between 2 and 50
),
listed as materialized (
    select g.example_id, g.gram from gram g join telling using (gram)
),
pair as (
    select distinct a.example_id, b.example_id as other_id
    from listed a join listed b on b.gram = a.gram and b.example_id > a.example_id
),
weighed as (
    select p.example_id, p.other_id, len(list_intersect(a.grams, b.grams)) as shared, len(a.grams) as size, len(b.grams) as other_size
    from pair p join given a on a.example_id = p.example_id join given b on b.example_id = p.other_id
)
select first_id as example_id, example_id as other_id, 'same words' as kind, 1.0::double as containment, 1.0::double as jaccard
from whole where first_id <> example_id
union all
select example_id, other_id, 'overlap', shared / least(size, other_size), shared / (size + other_size - shared)
from weighed
where shared / least(size, other_size) >= threshold;
