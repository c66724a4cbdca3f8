-- Which examples of a training set give away an evaluation: select * from contamination(mix_id, evaluation_id). One row an
-- example and evaluated problem, with the strongest way in which they meet:
--   exact: the example's problem or its prompt is the question, character by character;
--   normalised: the same, compared by words;
--   ngram: they share n consecutive words anywhere (13, as for GPT-3). A question of fewer words counts as a whole:
--   all of it stands in the example, if it has at least five; shorter ones stand in half of all texts, and only equality counts.
-- `shared` is how many runs of n words they share. Not covered: answers alone, paraphrases, translations.
create or replace macro contamination(mix, evaluation, n := 13) as table
with item as materialized (
    select problem_id, question, list_transform(words(question), lambda word: hash(word)) as words
    from problem
    where problem_id in (select i.problem_id from evaluation_item i where i.evaluation_id = evaluation)
),
given as materialized (
    select example_id, prompt, list_transform(words(prompt), lambda word: hash(word)) as prompt_words,
        list_transform(words(prompt || chr(10) || completion), lambda word: hash(word)) as words
    from example
    where example_id in (select mm.example_id from mix_member mm where mm.mix_id = mix)
),
said as (  -- what an example says as a whole: its prompt, and the questions it was made from
    select example_id, prompt as text, prompt_words as words from given
    union
    select e.example_id, p.question, list_transform(words(p.question), lambda word: hash(word))
    from example_evidence e join problem p using (problem_id)
    where e.example_id in (select g.example_id from given g)
),
item_gram as (
    select problem_id, unnest(list_distinct(list_transform(range(len(words) - n + 1), lambda i: hash(words[i + 1:i + n])))) as gram
    from item where len(words) >= n
),
example_gram as (
    select example_id, unnest(list_distinct(list_transform(range(len(words) - n + 1), lambda i: hash(words[i + 1:i + n])))) as gram
    from given where len(words) >= n and exists (select 1 from item where len(item.words) >= n)
),
short_item as (
    select problem_id, hash(words[1:5]) as gram, ' ' || array_to_string(words, ' ') || ' ' as phrase
    from item where len(words) between 5 and n - 1
),
start as (
    select example_id, unnest(list_distinct(list_transform(range(len(words) - 4), lambda i: hash(words[i + 1:i + 5])))) as gram
    from given where len(words) >= 5 and exists (select 1 from short_item)
),
met as (
    select s.example_id, i.problem_id, 1 as rank, 0 as shared from said s join item i on i.question = s.text
    union all
    select s.example_id, i.problem_id, 2, 0 from said s join item i on i.words = s.words where len(i.words) > 0
    union all
    select e.example_id, i.problem_id, 3, count(*) from example_gram e join item_gram i using (gram) group by all
    union all
    select b.example_id, s.problem_id, 3, 1
    from start b join short_item s using (gram) join given g using (example_id)
    where contains(' ' || array_to_string(g.words, ' ') || ' ', s.phrase)
)
select example_id, problem_id, ['exact', 'normalised', 'ngram'][min(rank)] as kind, max(shared)::bigint as shared
from met
group by example_id, problem_id;
