-- One row a step of a run: what it cost, what became of what it was asked for, how many rows it wrote.
create or replace view v_step as
select
    s.run_id, r.name as run, r.method, s.iteration, s.name as step, s.cell, s.step_id, s.hit,
    s.startup_s, s.work_s, s.asked, s.ok, s.rejected, s.undecided, s.failed, coalesce(w.rows_written, 0) as rows_written,
    s.committed_at, s.prefect_task_run_id, s.cache_key, s.key_parts, s.facts, s.event_seq
from step s
left join run r using (run_id)
left join (
    select o.step_id, sum(h.rows)::bigint as rows_written
    from step_shard o join shard h using (digest)
    where o.direction = 'output'
    group by o.step_id
) w using (step_id);
