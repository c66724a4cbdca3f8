-- One row an evaluation in a step of a run.
create or replace view v_evaluation as
with placed as (
    select distinct run_id, iteration, step, id as evaluation_id from v_output where table_name = 'evaluation'
)
select p.run_id, p.iteration, p.step, e.*
from placed p join evaluation e using (evaluation_id);
