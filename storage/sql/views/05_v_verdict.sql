-- Every verdict in a step of a run, whatever its aspect, beside the text it judges.
create or replace view v_verdict as
with placed as (
    select distinct run_id, iteration, step, id as verdict_id from v_output where table_name = 'verdict'
)
select
    p.run_id, p.iteration, p.step, v.verdict_id, v.attempt_id, v.verifier, v.verifier_digest, v.aspect, v.passed, v.score,
    v.answer, v.reason, a.problem_id, a.text
from placed p
join verdict v using (verdict_id)
left join attempt a using (attempt_id);
