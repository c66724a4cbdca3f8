-- How many attempts at training problems each iteration kept. Undecided verdicts stay out of the rate, so a broken
-- verifier shows up as `undecided`, never as a lower pass rate; failed generations are counted apart. Attempts with a hint, and those made
-- of others (refinements), are counted apart: a rate over all would say nothing about the model. A critique, and what a model says
-- of its own texts (`check`), answer no problem: only their tokens count. Proposed problems, votes on their answers and probes of a temperature are no attempts that an iteration learns from, and
-- stay out.
create or replace view v_yield as
with made as (
    select *, case when step in ('critique', 'check') then 'said' when step = 'refine' then 'refined' when hinted then 'hinted' else 'direct' end as way
    from v_attempt
)
select
    a.run_id, any_value(r.name) as run, a.iteration,
    count(*) filter (where way = 'direct') as attempts,
    count(*) filter (where way = 'direct' and passed) as kept,
    count(*) filter (where way = 'direct' and passed is null and finish_reason <> 'failed') as undecided,
    count(*) filter (where way = 'direct' and passed) / nullif(count(passed) filter (where way = 'direct'), 0) as pass_rate,
    count(*) filter (where way = 'hinted') as rationalized,
    count(*) filter (where way = 'hinted' and passed) as rationalized_kept,
    count(*) filter (where way = 'hinted' and passed is null and finish_reason <> 'failed') as rationalized_undecided,
    count(*) filter (where way = 'refined') as refined,
    count(*) filter (where way = 'refined' and passed) as refined_kept,
    count(*) filter (where way = 'refined' and passed is null and finish_reason <> 'failed') as refined_undecided,
    count(*) filter (where way <> 'said' and finish_reason = 'failed') as failed,
    count(distinct problem_id) filter (where way <> 'said') as problems,
    count(distinct problem_id) filter (where way = 'direct' and passed) as problems_solved,
    sum(tokens)::bigint as tokens
from made a
left join run r using (run_id)
where coalesce(a.split, '') not in ('dev', 'test') and a.step not like 'propose%' and a.step not like 'probe%'
group by a.run_id, a.iteration;
