-- One row a node of a search tree in a step of a run, with the step that it is, what the solution that it completes was judged
-- to be in this iteration, and the tokens it was written with. The root has no text.
create or replace view v_node as
with placed as (
    select distinct run_id, iteration, step, id as node_id from v_output where table_name = 'node'
),
judged as (
    select run_id, iteration, attempt_id as solution_id, any_value(verdict_id) as verdict_id,
        any_value(passed) as passed, any_value(answer) as answer
    from v_attempt group by run_id, iteration, attempt_id
)
select
    p.run_id, p.iteration, p.step, n.tree_id, n.place, n.node_id, n.parent_id, n.depth, n.kind, n.value, n.visits,
    n.terminal, n.closed, a.text, a.tokens, n.attempt_id, n.solution_id, j.verdict_id, j.passed, j.answer, n.problem_id,
    n.checkpoint_id, n.value_checkpoint_id
from placed p
join node n using (node_id)
left join attempt a on a.attempt_id = n.attempt_id
left join judged j on j.run_id = p.run_id and j.iteration = p.iteration and j.solution_id = n.solution_id;
