-- What each version of a verifier said of an attempt, aspect by aspect. `newest`: no later version of the verifier has
-- judged this aspect of this attempt.
create or replace view v_verdict_history as
with version as materialized (
    select verifier, verifier_digest, version, last_seq from v_verifier_version
)
select
    v.attempt_id, v.verifier, v.aspect, n.version, v.passed, v.score, v.answer, v.reason, v.verdict_id, v.verifier_digest,
    n.last_seq,
    n.last_seq = max(n.last_seq) over (partition by v.attempt_id, v.verifier, v.aspect) as newest
from verdict v join version n using (verifier, verifier_digest);
