-- Examples of a training set that say nearly the same: select * from near_duplicates(mix_id). One row a pair: `same words`
-- (equal but for case, punctuation and wrapping; each with the first of its kind), or `overlap`, where their runs of n words
-- are the same to at least `threshold` (`jaccard`; `containment` is the share of the smaller one's runs that the other has too).
-- A pair that reaches the threshold shares one of the rarest runs of both (prefix filtering: Bayardo et al. 2007), so only
-- those are looked at. Not found: pairs whose rarest common run stands in more than 200 examples.
create or replace macro near_duplicates(mix, n := 5, threshold := 0.8) as table
with text as materialized (
    select example_id, list_transform(words(prompt || chr(10) || completion), lambda word: hash(word)) as words
    from example
    where example_id in (select mm.example_id from mix_member mm where mm.mix_id = mix)
),
whole as (
    select example_id, min(example_id) over (partition by words) as first_id from text
),
given as materialized (
    select row_number() over () as place, t.example_id,
        list_distinct(list_transform(range(greatest(len(words) - n + 1, 1)), lambda i: hash(words[i + 1:i + n]))) as grams
    from text t
    where t.example_id in (select first_id from whole)
),
gram as materialized (
    select place, len(grams) as size, unnest(grams) as gram from given
),
common as (
    select gram, count(*) as examples from gram group by gram having examples > 1
),
shared as (
    select g.place, g.size, g.gram, c.examples from gram g join common c using (gram)
),
ranked as (  -- how many runs come before this one, from the rarest on: those that no other example has, and the rarer shared ones
    select place, size, gram, examples,
        size - count(*) over (partition by place)
        + row_number() over (partition by place order by examples, gram) as rank
    from shared
    where place in (select s.place from shared s group by s.place, s.size having count(*) >= threshold * s.size)
),
telling as materialized (
    select place, gram from ranked where rank <= size - ceil(threshold * size) + 1 and examples <= 200
),
pair as (
    select distinct a.place, b.place as other from telling a join telling b on b.gram = a.gram and b.place > a.place
),
weighed as (
    select a.example_id, b.example_id as other_id, len(list_intersect(a.grams, b.grams)) as shared, len(a.grams) as size,
        len(b.grams) as other_size
    from pair p join given a on a.place = p.place join given b on b.place = p.other
)
select first_id as example_id, example_id as other_id, 'same words' as kind, 1.0::double as containment, 1.0::double as jaccard
from whole where first_id <> example_id
union all
select least(example_id, other_id), greatest(example_id, other_id), 'overlap', shared / least(size, other_size),
    shared / (size + other_size - shared)
from weighed
where shared / (size + other_size - shared) >= threshold;
