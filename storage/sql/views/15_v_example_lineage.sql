-- Where an example came from, one row a link: from the example through its evidence to problem, attempt, verdict, prompt
-- and the checkpoint that wrote it, to the attempts that it was made from (or the seeds, of Self-Instruct) and what those were
-- made from (depth 0 to 2), and on from checkpoint to training, mix and earlier checkpoints, down to the base. `mix_id` is the
-- training set that the evidence was found for; `examples` is how many examples of the mix a link stands for. The examples
-- themselves of an earlier mix: v_checkpoint_training_set.
create or replace view v_example_lineage as
with link as (
    select checkpoint_id, 'checkpoint' as kind, 'training' as to_kind, checkpoint_id as id, training_id as to_id,
        'made by' as relation, null::bigint as examples, 0 as step
    from checkpoint where training_id is not null
    union all
    select c.checkpoint_id, 'training', 'mix', c.training_id, t.mix_id, 'trained on', x.rows, 1
    from checkpoint c join training t using (training_id) left join mix x using (mix_id)
    union all
    select checkpoint_id, case when relation = 'base' then 'training' else 'mix' end, 'checkpoint',
        case when relation = 'base' then training_id else mix_id end, parent_id, relation, examples, 2
    from v_checkpoint_parent
)
select example_id, mix_id, 0 as depth, 'example' as kind, example_id as id, origin as relation, 'problem' as to_kind,
    problem_id as to_id, null::bigint as examples
from v_mix_source
union
select example_id, mix_id, 0, 'example', example_id, origin, 'attempt', attempt_id, null
from v_mix_source where attempt_id is not null
union
select s.example_id, s.mix_id, 1, 'attempt', s.attempt_id, 'answers', 'prompt', s.prompt_id, null
from v_mix_source s where s.prompt_id is not null
union
select s.example_id, s.mix_id, 1, 'attempt', s.attempt_id, 'judged by', 'verdict', s.verdict_id, null
from v_mix_source s where s.verdict_id is not null
union
select s.example_id, s.mix_id, 1, 'attempt', s.attempt_id, d.role, if(d.role = 'seed', 'problem', 'attempt'), d.parent_id, null
from v_mix_source s join derivation d on d.child_id = s.attempt_id
union
select s.example_id, s.mix_id, 2, 'attempt', d.parent_id, e.role, if(e.role = 'seed', 'problem', 'attempt'), e.parent_id, null
from v_mix_source s join derivation d on d.child_id = s.attempt_id join derivation e on e.child_id = d.parent_id
union
select s.example_id, s.mix_id, 1, 'attempt', s.attempt_id, 'written by', 'checkpoint', s.checkpoint_id, null
from v_mix_source s where s.checkpoint_id is not null
union
select s.example_id, s.mix_id, 2 + 3 * n.depth + l.step, l.kind, l.id, l.relation, l.to_kind, l.to_id, l.examples
from v_mix_source s
join v_checkpoint_ancestry n on n.checkpoint_id = s.checkpoint_id
join link l on l.checkpoint_id = n.ancestor_id;
