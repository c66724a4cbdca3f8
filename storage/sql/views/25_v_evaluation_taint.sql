-- Evaluated problems whose verdict no longer holds: they counted as `was` in the accuracy, and would count as `now`.
create or replace view v_evaluation_taint as
select
    i.evaluation_id, e.checkpoint_id, e.source, e.split, i.problem_id, i.attempt_id, i.verdict_id, o.verifier, o.was_version,
    o.was, o.now_version, o.now
from v_overturned o
join verdict v on v.attempt_id = o.attempt_id and v.verifier = o.verifier and v.verifier_digest = o.was_digest
join evaluation_item i on i.verdict_id = v.verdict_id
join evaluation e on e.evaluation_id = i.evaluation_id;
