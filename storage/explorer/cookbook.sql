-- The saved questions of `starloop explore`: those of docs/lineage.md, word by word (a test compares them). `-- #` begins a
-- chapter, `-- ##` a question; the query is what follows.

-- # What a loop made

-- ## How much did each iteration keep?
select iteration, attempts, kept, undecided, pass_rate, rationalized, rationalized_kept from v_yield order by run_id, iteration

-- ## What share of each training set was rationalized?
select mix_iteration, origin, count(*) as rows, count(*) / sum(count(*)) over (partition by mix_id) as share
from v_mix_example join (select distinct id as mix_id, iteration as mix_iteration from v_output where table_name = 'mix') using (mix_id)
group by mix_id, mix_iteration, origin order by mix_iteration, origin

-- ## Which problems did no attempt ever solve?
select question, gold, count(*) as attempts
from v_attempt where split = 'train'
group by question, gold having count(*) filter (where passed) = 0
order by attempts desc, question limit 20

-- ## How often is a problem solved, over all attempts at it?
select attempts, solved, count(*) as problems
from (select problem_id, count(passed) as attempts, count(*) filter (where passed) as solved
      from v_attempt where split = 'train' and not hinted group by problem_id)
group by attempts, solved order by attempts, solved

-- ## Which attempts reach the right answer through a wrong step, direct and rationalized apart?
select a.iteration, a.hinted, count(*) as kept, count(*) filter (where not s.passed) as through_a_wrong_step
from v_attempt a
join v_verdict s on s.attempt_id = a.attempt_id and s.run_id = a.run_id and s.iteration = a.iteration and s.aspect = 'steps'
where a.split = 'train' and a.passed
group by a.iteration, a.hinted order by a.iteration, a.hinted

-- ## What are the longest and the shortest rationales that were kept?
(select 'longest' as which, length(text) as characters, question, text from v_attempt where passed order by length(text) desc, text limit 5)
union all
(select 'shortest', length(text), question, text from v_attempt where passed order by length(text), text limit 5)

-- ## What is undecided, and why?
select iteration, step, verifier, reason, count(*) as attempts
from v_attempt where verdict_id is not null and passed is null
group by all order by attempts desc

-- ## How surprised was the model by what passed, and by what failed?
select iteration, passed, count(*) as attempts, avg(logprob / nullif(tokens, 0)) as nats_per_token
from v_attempt where step = 'sample' group by iteration, passed order by iteration, passed

-- ## What did the search trees come to?
select iteration, step, count(*) as trees, avg(nodes) as nodes, avg(tokens) as tokens, avg(solutions) as solutions,
    avg(best_passed::int) as best_leaf_right, avg((right_solutions > 0)::int) as any_right
from v_tree group by iteration, step order by iteration, step

-- ## Which steps did a tree prefer, and where did they lead?
select depth, text, value, visits, kind, passed, closed
from v_node where tree_id = (select tree_id from v_tree where step = 'search' order by nodes desc, tree_id limit 1)
order by place

-- # What it cost

-- ## Where did the tokens and the seconds go?
select step, sum(work_s) as work_s, sum(startup_s) as startup_s, count(*) as cells, sum(tokens) as tokens
from v_step left join (select run_id, iteration, step, sum(tokens) as tokens from v_attempt group by all) using (run_id, iteration, step)
group by step order by work_s desc

-- ## How many tokens did each iteration generate?
select iteration, step, sum(tokens) as tokens from v_attempt group by iteration, step order by iteration, step

-- ## What did the rejects cost?
select iteration, hinted, sum(tokens) filter (where not passed) as rejected, sum(tokens) filter (where passed) as kept,
    sum(tokens) filter (where not passed) / sum(tokens) as share
from v_attempt where split = 'train' group by iteration, hinted order by iteration, hinted

-- ## How much did each run find in the cache?
select run, run_id, count(*) as cells, count(*) filter (where hit) as cached, sum(work_s) as work_s
from v_step group by run, run_id order by run, run_id

-- ## What was generated and never used?
select iteration, step, count(*) as attempts, sum(tokens) as tokens
from v_attempt a
where split = 'train' and not exists (select 1 from example_evidence e where e.attempt_id = a.attempt_id)
group by iteration, step order by iteration, step

-- # Where an example came from, and where it went

-- ## What trained this checkpoint, and who wrote it?
select origin, written_by, count(*) as examples
from v_checkpoint_training_set
where checkpoint_id = (select checkpoint_id from v_iteration order by iteration desc limit 1)
group by origin, written_by order by examples desc

-- ## What is in a training set, row by row?
select position, origin, prompt, completion, verdict, verifier, iteration, source, licence
from v_mix_example
where mix_id = (select id from v_output where table_name = 'mix' order by iteration desc limit 1)
order by position limit 20

-- ## Which prompts wrote this example, and what did it go into?
select e.origin, p.text as prompt, a.text as attempt, u.checkpoint_id as trained
from example_evidence e
join attempt a using (attempt_id) join prompt p using (prompt_id)
left join v_example_use u using (example_id)
where e.example_id = (select example_id from example_evidence where attempt_id is not null order by 1 limit 1)

-- ## Which training sets share an example?
select example_id, count(distinct mix_id) as training_sets, list(distinct role order by role) as roles
from mix_member group by example_id having training_sets > 1
order by training_sets desc, example_id limit 20

-- ## Which checkpoints have this example in their history?
select checkpoint_id, depth
from v_example_descendant
where example_id = (select example_id from mix_member where role = 'sampled' order by 1 limit 1)
order by depth, checkpoint_id

-- ## What leads from an example down to the base?
select depth, kind, id, relation, to_kind, to_id, examples
from v_example_lineage
where example_id = (select example_id from mix_member where role = 'sampled' order by 1 limit 1)
order by mix_id, depth, kind, id limit 40

-- ## What leads from a checkpoint down to the base?
select n.depth, n.ancestor_id, p.relation, p.parent_id, p.examples
from v_checkpoint_ancestry n left join v_checkpoint_parent p on p.checkpoint_id = n.ancestor_id
where n.checkpoint_id = (select checkpoint_id from v_iteration order by iteration desc limit 1)
order by n.depth, p.relation

-- ## What became of a problem: its attempts, and the checkpoints that learned from them?
select distinct a.iteration, a.step, a.text, a.passed, u.checkpoint_id
from v_attempt a
left join example_evidence e using (attempt_id)
left join v_example_use u using (example_id)
where a.problem_id = (select problem_id from example_evidence where attempt_id is not null order by 1 limit 1)
order by a.iteration, a.step, a.text, u.checkpoint_id

-- ## What is in one training set and not in another?
with one as (select id as mix_id from v_output where table_name = 'mix' and iteration = 1 limit 1),
other as (select id as mix_id from v_output where table_name = 'mix' and iteration = 2 limit 1)
select case when b.example_id is null then 'only in the first' when a.example_id is null then 'only in the second' else 'in both' end
    as place, count(*) as examples
from (select distinct example_id from mix_member where mix_id = (from one)) a
full join (select distinct example_id from mix_member where mix_id = (from other)) b on b.example_id = a.example_id
group by place order by place

-- ## Whose data is in a training set?
select source, licence, origin, count(*) as rows
from v_mix_example
where mix_id = (select id from v_output where table_name = 'mix' order by iteration desc limit 1)
group by source, licence, origin order by rows desc

-- # Better or worse

-- ## How accurate is each iteration, stratum by stratum?
select e.iteration, i.stratum, count(*) as problems, count(*) filter (where i.passed) / nullif(count(i.passed), 0) as accuracy
from v_evaluation e join v_evaluation_item i using (evaluation_id)
where e.split = 'dev' group by e.iteration, i.stratum order by e.iteration, i.stratum

-- ## Which held-out problems were solved by one iteration and lost by the next?
select iteration, question, gold, was, became from v_item_change where split = 'dev' and change = 'lost' order by iteration, question

-- ## Which new examples did a loss follow?
select c.iteration, c.question as lost, x.question as trained_on, x.completion, x.origin
from v_item_change c
join v_checkpoint_training_set t on t.checkpoint_id = c.checkpoint_id
join v_mix_example x on x.mix_id = t.mix_id and x.position = t.position
where c.change = 'lost' and x.question is not null
    and t.example_id not in (select u.example_id from v_example_use u where u.checkpoint_id = c.was_checkpoint_id)
qualify row_number() over (partition by c.iteration, c.problem_id order by levenshtein(c.question, x.question), x.example_id) <= 3
order by c.iteration, lost

-- ## How often has the test split been looked at?
select checkpoint_id, source, count(*) as looks, min(iteration) as iteration from v_evaluation where split = 'test' group by all order by iteration

-- # What can be trusted

-- ## Which versions of a verifier have judged, and what did each say?
select version, attempts, passed, failed, undecided, runs, first_at, newest from v_verifier_version order by verifier, last_seq

-- ## Which verdicts would not be reached again? (`starloop reverify` looks)
select was_version, was, now_version, now, question, gold, text, now_reason from v_flip order by question limit 20

-- ## What was trained on a verdict that no longer holds?
select mix_id, checkpoint_id, count(distinct example_id) as examples,
    count(distinct example_id) filter (where other_evidence = 0) as with_nothing_else_for_them
from v_taint group by mix_id, checkpoint_id order by examples desc

-- ## What would an evaluation be with today's verdicts?
select e.iteration, e.split, e.passed, e.passed + coalesce(t.gained, 0) - coalesce(t.lost, 0) as passed_today, e.n
from v_evaluation e
left join (select evaluation_id, count(*) filter (where now) as gained, count(*) filter (where was) as lost
           from v_evaluation_taint group by evaluation_id) t using (evaluation_id)
order by e.split, e.iteration

-- ## Does a training set give away an evaluation?
select kind, count(distinct example_id) as examples, count(distinct problem_id) as problems
from contamination((select id from v_output where table_name = 'mix' order by iteration desc limit 1),
                   (select evaluation_id from v_evaluation where split = 'dev' order by iteration desc limit 1))
group by kind

-- ## Which examples of a training set say nearly the same?
select d.kind, d.jaccard, d.containment, a.prompt, a.completion, b.prompt as other_prompt, b.completion as other_completion
from near_duplicates((select id from v_output where table_name = 'mix' order by iteration desc limit 1), threshold := 0.8) d
join example a on a.example_id = d.example_id join example b on b.example_id = d.other_id
order by d.jaccard desc, d.containment desc limit 20

-- ## Which texts were written again in a later iteration?
select question, text, count(distinct iteration) as iterations, count(*) as attempts, bool_or(passed) as passed
from v_attempt where step in ('sample', 'rationalize')
group by question, text having iterations > 1
order by attempts desc, question limit 20

-- ## What was decided, and when?
select kind, count(*) as events, min(happened_at) as first, max(happened_at) as last from v_event group by kind order by first
