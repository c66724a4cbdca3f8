-- How many attempts at training problems each iteration kept. Undecided verdicts stay out of the rate, so a broken
-- verifier shows up as `undecided`, never as a lower pass rate; failed generations are counted apart. Attempts with a hint are counted apart: a rate over
-- both would say nothing about the model. Proposed problems, votes on their answers and probes of a temperature are no attempts that
-- an iteration learns from, and stay out.
create or replace view v_yield as
select
    a.run_id, any_value(r.name) as run, a.iteration,
    count(*) filter (where not hinted) as attempts,
    count(*) filter (where not hinted and passed) as kept,
    count(*) filter (where not hinted and passed is null and finish_reason <> 'failed') as undecided,
    count(*) filter (where not hinted and passed) / nullif(count(passed) filter (where not hinted), 0) as pass_rate,
    count(*) filter (where hinted) as rationalized,
    count(*) filter (where hinted and passed) as rationalized_kept,
    count(*) filter (where hinted and passed is null and finish_reason <> 'failed') as rationalized_undecided,
    count(*) filter (where finish_reason = 'failed') as failed,
    count(distinct problem_id) as problems,
    count(distinct problem_id) filter (where not hinted and passed) as problems_solved,
    sum(tokens)::bigint as tokens
from v_attempt a
left join run r using (run_id)
where coalesce(a.split, '') not in ('dev', 'test') and a.step not like 'propose%' and a.step not like 'probe%'
group by a.run_id, a.iteration;
