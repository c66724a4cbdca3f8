-- One row a place in a checkpoint's training set, with what was trained on and where it came from. `sources` counts the
-- pieces of evidence for the example in this role; the attempt, verdict and writer shown belong to one of them (all: v_mix_source).
create or replace view v_checkpoint_training_set as
with source as (
    select
        mix_id, example_id, origin, count(*) as sources, min(evidence_id) as evidence_id,
        row_number() over (partition by mix_id, example_id order by origin desc) as place
    from v_mix_source
    group by mix_id, example_id, origin
)
select
    c.checkpoint_id, t.training_id, t.mix_id, mm.position, mm.example_id, mm.role as origin, mm.pair, mm.weight, x.prompt,
    x.completion, coalesce(s.sources, 0) as sources, e.problem_id, e.attempt_id, e.verdict_id,
    a.checkpoint_id as written_by
from checkpoint c
join training t using (training_id)
join mix_member mm using (mix_id)
left join example x using (example_id)
left join source s on s.mix_id = mm.mix_id and s.example_id = mm.example_id
    and (s.origin = mm.role or (mm.pair is not null and s.place = 1))
left join example_evidence e on e.evidence_id = s.evidence_id
left join attempt a on a.attempt_id = e.attempt_id;
