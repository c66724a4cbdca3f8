-- What each checkpoint was directly made from, and through what: the base that its training started from, and the
-- checkpoints that its training set stands on (v_mix_parent). `examples` counts the training examples concerned.
create or replace view v_checkpoint_parent as
with trained as (
    select c.checkpoint_id, t.training_id, t.mix_id, t.base_checkpoint_id
    from checkpoint c join training t using (training_id)
)
select checkpoint_id, training_id, mix_id, 'base' as relation, base_checkpoint_id as parent_id, null::bigint as examples
from trained
where base_checkpoint_id is not null
union all
select t.checkpoint_id, t.training_id, t.mix_id, p.relation, p.parent_id, p.examples
from trained t join v_mix_parent p using (mix_id);
