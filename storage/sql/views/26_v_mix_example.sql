-- A training set as others take it: one row a place, with what is trained on and where that came from. `iteration` is the
-- one whose step wrote the attempt (the first, where several did); of several pieces of evidence for the example in this
-- role (`sources`), one is shown.
create or replace view v_mix_example as
with source as (
    select mix_id, example_id, origin, count(*) as sources, min(evidence_id) as evidence_id,
        row_number() over (partition by mix_id, example_id order by origin desc) as place
    from v_mix_source
    group by mix_id, example_id, origin
),
written as (
    select m.id as attempt_id, min(s.iteration) as iteration
    from member m
    join step_shard o on o.digest = m.digest and o.direction = 'output'
    join shard h on h.digest = m.digest and h.table_name = 'attempt'
    join step s on s.step_id = o.step_id
    group by m.id
)
select
    mm.mix_id, mm.position, mm.example_id, mm.role as origin, mm.pair, mm.weight, x.prompt, x.completion,
    coalesce(s.sources, 0) as sources, e.problem_id, b.source, b.split, b.licence, b.question, b.gold, e.attempt_id,
    w.iteration, a.checkpoint_id as written_by, coalesce(t.hinted, false) as hinted, e.verdict_id,
    case when e.verdict_id is null then null when v.passed then 'passed' when v.passed is null then 'undecided' else 'failed'
    end as verdict,
    v.verifier || '@' || left(replace(v.verifier_digest::varchar, '-', ''), 8) as verifier
from mix_member mm
left join example x on x.example_id = mm.example_id
left join source s on s.mix_id = mm.mix_id and s.example_id = mm.example_id
    and (s.origin = mm.role or (mm.pair is not null and s.place = 1))
left join example_evidence e on e.evidence_id = s.evidence_id
left join problem b on b.problem_id = e.problem_id
left join attempt a on a.attempt_id = e.attempt_id
left join written w on w.attempt_id = e.attempt_id
left join prompt t on t.prompt_id = a.prompt_id
left join verdict v on v.verdict_id = e.verdict_id;
