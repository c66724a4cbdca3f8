-- What each training set took each of its examples from: the attempt, its verdict and the checkpoint that wrote it (all
-- null where no model did). Only the evidence that the step which made the mix had before it: the same text is often
-- written again by later checkpoints, and those are no ancestors.
create or replace view v_mix_source as
with made as (
    select distinct step_id, id as mix_id from v_output where table_name = 'mix'
),
seen as (
    select distinct made.mix_id, m.id as evidence_id
    from made
    join step_shard o on o.step_id = made.step_id
    join shard h on h.digest = o.digest and h.table_name = 'example_evidence'
    join member m on m.digest = o.digest
)
select distinct
    s.mix_id, e.example_id, e.origin, e.problem_id, e.attempt_id, e.verdict_id, a.prompt_id, a.checkpoint_id, e.evidence_id
from seen s
join example_evidence e using (evidence_id)
join mix_member mm on mm.mix_id = s.mix_id and mm.example_id = e.example_id
left join attempt a on a.attempt_id = e.attempt_id;
