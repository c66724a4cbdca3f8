-- One row an attempt in a step of a run, rejected ones included, with the verdict that this iteration reached (null
-- where there is none; `passed` is also null where the verdict is undecided, and then `verdict_id` is there).
-- Verdicts on other aspects, such as the steps of a rationale, are in v_verdict.
create or replace view v_attempt as
with placed as (
    select distinct run_id, iteration, step, id as attempt_id from v_output where table_name = 'attempt'
),
judged as (
    select distinct o.run_id, o.iteration, v.attempt_id, v.verdict_id, v.verifier, v.verifier_digest, v.passed, v.score,
        v.answer, v.reason
    from v_output o join verdict v on v.verdict_id = o.id
    where o.table_name = 'verdict' and v.aspect = ''
)
select
    p.run_id, p.iteration, p.step, a.attempt_id, a.request_id, a.problem_id, b.source, b.split, b.stratum, b.question,
    b.gold, a.prompt_id, t.text as prompt, coalesce(t.hinted, false) as hinted, t.template, a.checkpoint_id, a.engine,
    a.sampling, a.sample_index, a.seed, a.text, a.finish_reason, a.prompt_tokens, a.tokens, a.logprob, a.error,
    j.verdict_id, j.verifier, j.verifier_digest, j.passed, j.score, j.answer, j.reason
from placed p
join attempt a using (attempt_id)
left join problem b using (problem_id)
left join prompt t using (prompt_id)
left join judged j on j.run_id = p.run_id and j.iteration = p.iteration and j.attempt_id = p.attempt_id;
