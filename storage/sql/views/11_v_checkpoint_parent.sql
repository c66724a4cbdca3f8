-- What each checkpoint was directly made from, and through what: the base that its training started from, and the
-- checkpoints that wrote its examples (by origin), the attempts those were made from (`repaired`, …: the derivation's
-- role), or its problems (`posed`). `examples` counts the training examples concerned.
create or replace view v_checkpoint_parent as
with trained as (
    select c.checkpoint_id, t.training_id, t.mix_id, t.base_checkpoint_id
    from checkpoint c join training t using (training_id)
),
written as (
    select mix_id, origin as relation, checkpoint_id as parent_id, count(distinct example_id) as examples
    from v_mix_source
    where checkpoint_id is not null
    group by all
    union all
    select s.mix_id, d.role, a.checkpoint_id, count(distinct s.example_id)
    from v_mix_source s
    join derivation d on d.child_id = s.attempt_id
    join attempt a on a.attempt_id = d.parent_id
    group by all
    union all
    select s.mix_id, 'posed', a.checkpoint_id, count(distinct s.example_id)
    from v_mix_source s
    join problem b on b.problem_id = s.problem_id
    join attempt a on a.attempt_id = b.source_attempt_id
    group by all
)
select checkpoint_id, training_id, mix_id, 'base' as relation, base_checkpoint_id as parent_id, null::bigint as examples
from trained
where base_checkpoint_id is not null
union all
select t.checkpoint_id, t.training_id, t.mix_id, w.relation, w.parent_id, w.examples
from trained t join written w using (mix_id);
