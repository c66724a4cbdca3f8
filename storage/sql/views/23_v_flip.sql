-- The verdicts that no longer hold, as people read them: what was asked, what was answered, and what each version made of it.
create or replace view v_flip as
with said as (  -- of several aspects, one that decides: the least of false, null, true
    select attempt_id, verifier, verifier_digest,
        arg_min(struct_pack(answer := answer, reason := reason, aspect := aspect),
            case when passed then 2 when passed is null then 1 else 0 end) as word
    from verdict
    where attempt_id in (select attempt_id from v_overturned)
    group by attempt_id, verifier, verifier_digest
)
select
    o.attempt_id, o.verifier, o.was_version, o.was, o.now_version, o.now, a.problem_id, b.split, b.question, b.gold, a.text,
    w.word.answer as was_answer, n.word.answer as now_answer, w.word.reason as was_reason, n.word.reason as now_reason,
    nullif(n.word.aspect, '') as aspect, a.checkpoint_id as written_by
from v_overturned o
left join said w on w.attempt_id = o.attempt_id and w.verifier = o.verifier and w.verifier_digest = o.was_digest
left join said n on n.attempt_id = o.attempt_id and n.verifier = o.verifier and n.verifier_digest = o.now_digest
left join attempt a on a.attempt_id = o.attempt_id
left join problem b on b.problem_id = a.problem_id;
