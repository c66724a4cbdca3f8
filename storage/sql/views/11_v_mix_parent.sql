-- Which checkpoints each training set stands on, and through what: those that wrote its examples (by origin), the attempts
-- those were made from (`repaired`, …: the derivation's role), or its problems (`posed`). `examples` counts the examples
-- concerned. A snapshot holds this view's rows as a table, as it does those of v_mix_evidence.
create or replace view v_mix_parent as
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
group by all;
