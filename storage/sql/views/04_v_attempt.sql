-- One row an attempt in a step of a run, rejected ones included, with the verdict that this iteration acted on (null
-- where there is none; `passed` is also null where it is undecided, and then `verdict_id` is there). Of several aspects a
-- failed one decides, then an undecided one, and the verdict shown is the one that decided. Second opinions (steps named
-- `audit …`) decide nothing and are in v_verdict only. The single steps of a tree search are in v_node; its whole solutions are here.
create or replace view v_attempt as
with placed as (
    select distinct run_id, iteration, step, id as attempt_id from v_output where table_name = 'attempt' and role <> 'steps'
),
reached as (
    select distinct run_id, iteration, id as verdict_id
    from v_output where table_name = 'verdict' and step not like 'audit%'
),
judged as (
    select run_id, iteration, attempt_id, unnest(arg_min(
        {'verdict_id': verdict_id, 'verifier': verifier, 'verifier_digest': verifier_digest, 'passed': passed,
         'score': score, 'answer': answer, 'reason': reason},
        case when not passed then 0 when passed is null then 1 else 2 end
    ))
    from reached join verdict using (verdict_id)
    group by run_id, iteration, attempt_id
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
