-- The figures of each finished iteration, as the flow last wrote them down.
create or replace view v_iteration as
select
    run_id, (payload->>'iteration')::integer as iteration,
    (payload->>'held_out_accuracy')::double as held_out_accuracy, (payload->>'ci_low')::double as ci_low,
    (payload->>'ci_high')::double as ci_high, (payload->>'n')::bigint as n,
    (payload->>'attempts')::bigint as attempts, (payload->>'kept')::bigint as kept,
    (payload->>'rationalized_kept')::bigint as rationalized_kept, (payload->>'undecided')::bigint as undecided,
    (payload->>'train_rows')::bigint as train_rows, (payload->>'original_share')::double as original_share,
    try_cast(payload->>'checkpoint_id' as uuid) as checkpoint_id, (payload->>'tasks_run')::bigint as tasks_run,
    (payload->>'tasks_cached')::bigint as tasks_cached, (payload->>'wall_s')::double as wall_s,
    happened_at as finished_at, payload as figures
from (
    select *, row_number() over (partition by run_id, payload->>'iteration' order by seq desc) as age
    from v_event where kind = 'iteration_finished'
)
where age = 1;
