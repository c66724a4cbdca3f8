-- One row a run, with how long it took and what came out; the arms of a group name it in `parent_run_id`.
create or replace view v_run as
select
    run_id, name, method, preset, state, starts, started_at, finished_at,
    (facts->>'wall_s')::double as wall_s, (facts->>'tokens')::bigint as tokens,
    (facts->>'base_accuracy')::double as base_accuracy, (facts->>'final_accuracy')::double as final_accuracy,
    parent_run_id, prefect_flow_run_id, config, facts
from run;
