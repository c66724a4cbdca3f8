-- Evaluated problems whose outcome is not what it was for the iteration before: `lost`, `gained`, or `undecided` on either side.
create or replace view v_item_change as
with scored as (
    select e.run_id, e.iteration, e.split, e.checkpoint_id, i.problem_id, i.stratum, i.question, i.gold, i.attempt_id, i.text, i.passed
    from v_evaluation e join v_evaluation_item i on i.evaluation_id = e.evaluation_id
)
select
    a.run_id, a.iteration, a.split,
    case when b.passed is null or a.passed is null then 'undecided' when b.passed then 'lost' else 'gained' end as change,
    a.problem_id, a.stratum, a.question, a.gold, b.text as was, a.text as became, b.checkpoint_id as was_checkpoint_id, a.checkpoint_id,
    b.attempt_id as was_attempt_id, a.attempt_id
from scored a
join scored b on b.run_id = a.run_id and b.split = a.split and b.problem_id = a.problem_id and b.iteration = a.iteration - 1
where a.passed is distinct from b.passed;
