-- How many attempts at training problems each iteration kept. Undecided verdicts stay out of the rate, so a broken
-- verifier shows up as `undecided`, never as a lower pass rate; failed generations are counted apart. Attempts with a hint, and those made
-- of others (refinements), are counted apart: a rate over all would say nothing about the model. A critique is no attempt at a problem.
create or replace view v_yield as
with made as (select *, step = 'refine' as refined from v_attempt where step <> 'critique')
select
    a.run_id, any_value(r.name) as run, a.iteration,
    count(*) filter (where not hinted and not refined) as attempts,
    count(*) filter (where not hinted and not refined and passed) as kept,
    count(*) filter (where not hinted and not refined and passed is null and finish_reason <> 'failed') as undecided,
    count(*) filter (where not hinted and not refined and passed)
        / nullif(count(passed) filter (where not hinted and not refined), 0) as pass_rate,
    count(*) filter (where hinted) as rationalized,
    count(*) filter (where hinted and passed) as rationalized_kept,
    count(*) filter (where hinted and passed is null and finish_reason <> 'failed') as rationalized_undecided,
    count(*) filter (where refined) as refined,
    count(*) filter (where refined and passed) as refined_kept,
    count(*) filter (where refined and passed is null and finish_reason <> 'failed') as refined_undecided,
    count(*) filter (where finish_reason = 'failed') as failed,
    count(distinct problem_id) as problems,
    count(distinct problem_id) filter (where not hinted and not refined and passed) as problems_solved,
    sum(tokens)::bigint as tokens
from made a
left join run r using (run_id)
where coalesce(a.split, '') not in ('dev', 'test')
group by a.run_id, a.iteration;
