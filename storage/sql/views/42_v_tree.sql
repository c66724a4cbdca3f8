-- One row a search tree in a step of a run: how large it became, what it cost, how many of its solutions are right, and whether
-- the most valuable one is.
create or replace view v_tree as
select
    n.run_id, n.iteration, n.step, n.tree_id, n.problem_id, any_value(b.question) as question, any_value(b.gold) as gold,
    any_value(b.stratum) as stratum, any_value(b.split) as split, count(*) - 1 as nodes, max(n.depth) as depth,
    sum(n.tokens)::bigint as tokens, count(*) filter (where n.terminal) as solutions,
    count(*) filter (where n.terminal and n.passed) as right_solutions,
    count(*) filter (where n.terminal and n.passed is null) as undecided,
    count(*) filter (where n.closed is not null) as closed, max(n.value) filter (where n.terminal) as best_value,
    arg_max_null(n.answer, n.value) filter (where n.terminal) as best_answer,
    arg_max_null(n.passed, n.value) filter (where n.terminal) as best_passed
from v_node n
left join problem b using (problem_id)
group by n.run_id, n.iteration, n.step, n.tree_id, n.problem_id;
