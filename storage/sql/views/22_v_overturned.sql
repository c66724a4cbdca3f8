-- Verdicts that no longer hold: an attempt whose outcome under an earlier version of a verifier (`was`) is not its outcome under
-- the newest version that judged it (`now`); null is undecided. An outcome is that of all aspects together: one that
-- failed decides, else one that is undecided leaves it open.
create or replace view v_overturned as
with version as materialized (
    select verifier, verifier_digest, version, last_seq,
        count(*) over (partition by verifier) as versions
    from v_verifier_version
),
outcome as (
    select v.attempt_id, n.verifier, n.verifier_digest, n.version, n.last_seq,
        min(case when v.passed then 2 when v.passed is null then 1 else 0 end) as code
    from verdict v join version n using (verifier, verifier_digest)
    where n.versions > 1
    group by all
),
latest as (
    select attempt_id, verifier, arg_max(code, last_seq) as code, arg_max(version, last_seq) as version,
        arg_max(verifier_digest, last_seq) as verifier_digest
    from outcome
    group by attempt_id, verifier
    having min(code) <> max(code)
)
select
    o.attempt_id, o.verifier, o.version as was_version, case o.code when 2 then true when 0 then false end as was,
    l.version as now_version, case l.code when 2 then true when 0 then false end as now, o.verifier_digest as was_digest,
    l.verifier_digest as now_digest
from outcome o join latest l using (attempt_id, verifier)
where o.code <> l.code;
