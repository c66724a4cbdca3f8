-- The versions of each verifier whose verdicts are stored: `version` is its name with the beginning of its code's
-- digest, as in sums@3f2a91c0. The newest is the one that judged last in the order of events; a run that is started again runs
-- the code that its id was made from, so its versions count from then.
create or replace view v_verifier_version as
with started as (
    select try_cast(payload->>'run_id' as uuid) as run_id, max(seq) as seq
    from event where kind = 'run_started'
    group by 1
),
judged as (  -- a shard of verdicts is one verifier's, so its first row says whose
    select v.verifier, v.verifier_digest, s.run_id, s.event_seq, s.committed_at, greatest(s.event_seq, t.seq) as seq
    from shard h
    join member m on m.digest = h.digest and m.row = 0
    join verdict v on v.verdict_id = m.id
    join step_shard o on o.digest = h.digest and o.direction = 'output'
    join step s on s.step_id = o.step_id
    left join started t on t.run_id = s.run_id
    where h.table_name = 'verdict'
),
version as (
    select verifier, verifier_digest, count(distinct run_id) as runs, min(event_seq) as first_seq, max(seq) as last_seq,
        min(committed_at) as first_at
    from judged
    group by verifier, verifier_digest
),
counted as (
    select verifier, verifier_digest, count(distinct attempt_id) as attempts, count(*) as verdicts,
        count(*) filter (where passed) as passed, count(*) filter (where not passed) as failed,
        count(*) filter (where passed is null) as undecided
    from verdict
    group by verifier, verifier_digest
)
select
    v.verifier, v.verifier || '@' || left(replace(v.verifier_digest::varchar, '-', ''), 8) as version, v.verifier_digest,
    c.attempts, c.verdicts, c.passed, c.failed, c.undecided, v.runs, v.first_seq, v.last_seq, v.first_at,
    v.last_seq = max(v.last_seq) over (partition by v.verifier) as newest
from version v join counted c using (verifier, verifier_digest);
