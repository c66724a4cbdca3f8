-- One row a promotion, rollback or move by hand, as it stands now; its earlier states are in `promotion`.
create or replace view v_promotion as
select
    p.promotion_id, p.state, p.action, p.model_name, p.alias, p.destination, p.checkpoint_id, p.version, p.previous_checkpoint_id,
    p.previous_version, p.run_id, p.judged_in, p.forced, p.reason, p.looks, p.gates, f.asked_at, p.happened_at, p.event_seq
from promotion p
join (
    select promotion_id, min(happened_at) as asked_at, max(event_seq) as event_seq from promotion group by promotion_id
) f using (promotion_id, event_seq);
