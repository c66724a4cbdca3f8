-- What each training set took each of its examples from: the attempt, its verdict and the checkpoint that wrote it (all
-- null where no model did), one row a piece of evidence.
create or replace view v_mix_source as
select
    s.mix_id, e.example_id, e.origin, e.problem_id, e.attempt_id, e.verdict_id, a.prompt_id, a.checkpoint_id, e.evidence_id
from v_mix_evidence s
join example_evidence e using (evidence_id)
left join attempt a on a.attempt_id = e.attempt_id;
