-- Promotions that stood on verdicts that no longer hold: of a checkpoint that was trained on one, or made from one that was
-- (`examples`), or whose own answers were judged by one (`items`).
create or replace view v_promotion_taint as
with moved as (
    select * from promotion where state in ('done', 'noticed') and checkpoint_id is not null
),
trained as (
    select m.event_seq, count(distinct t.example_id) as examples
    from moved m join v_checkpoint_ancestry a using (checkpoint_id) join v_taint t on t.checkpoint_id = a.ancestor_id
    group by m.event_seq
),
scored as (
    select m.event_seq, count(distinct t.problem_id) as items
    from moved m join v_evaluation_taint t using (checkpoint_id)
    group by m.event_seq
)
select m.promotion_id, m.event_seq, m.action, m.model_name, m.alias, m.version, m.checkpoint_id, m.happened_at,
    coalesce(t.examples, 0) as examples, coalesce(s.items, 0) as items
from moved m left join trained t using (event_seq) left join scored s using (event_seq)
where t.examples > 0 or s.items > 0;
