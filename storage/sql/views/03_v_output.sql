-- Which row was written by which step: the way from content, which knows no run, to the runs that it stands in.
create or replace view v_output as
select s.run_id, s.iteration, s.step_id, s.name as step, s.cell, o.role, h.table_name, m.id
from step s
join step_shard o on o.step_id = s.step_id and o.direction = 'output'
join shard h on h.digest = o.digest
join member m on m.digest = o.digest;
