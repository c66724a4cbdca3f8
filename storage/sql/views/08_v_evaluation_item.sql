-- Every evaluated problem with the answer given and the verdict on it.
create or replace view v_evaluation_item as
select
    i.evaluation_id, e.checkpoint_id, e.source, e.split, i.problem_id, b.stratum, b.weight, b.question, b.gold,
    i.attempt_id, a.text, i.verdict_id, v.passed, v.answer, v.reason
from evaluation_item i
join evaluation e using (evaluation_id)
left join problem b using (problem_id)
left join attempt a using (attempt_id)
left join verdict v using (verdict_id);
