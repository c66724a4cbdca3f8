-- Every look at a test split, one row an evaluation in a step of a run. The same answers looked at again are the same evaluation:
-- count(distinct evaluation_id) is how often something new was learned about these problems.
create or replace view v_test_look as
select e.evaluation_id, e.source, e.checkpoint_id, e.n, e.accuracy, s.run_id, r.method, s.name as step, s.iteration, s.event_seq,
    s.committed_at as looked_at
from step_shard o
join shard h on h.digest = o.digest and h.table_name = 'evaluation'
join member m on m.digest = o.digest
join evaluation e on e.evaluation_id = m.id
join step s on s.step_id = o.step_id
join run r using (run_id)
where o.direction = 'output' and e.split = 'test';
