-- What was trained on a verdict that no longer holds, one row a piece of evidence in a training set: the example, the
-- verdict then and now, and the checkpoint (null until trained). `other_evidence` counts what else speaks for the
-- example in this set and still holds; at 0, nothing does. `promotions` counts how often this checkpoint, or one made from it, was
-- promoted: what stood on the verdict in MLflow (v_promotion_taint names them). Checkpoints further down: v_checkpoint_ancestry.
create or replace view v_taint as
with tainted as (
    select e.evidence_id, e.example_id, v.verdict_id, o.verifier, o.was_version, o.was, o.now_version, o.now
    from v_overturned o
    join verdict v on v.attempt_id = o.attempt_id and v.verifier = o.verifier and v.verifier_digest = o.was_digest
    join example_evidence e on e.verdict_id = v.verdict_id
),
piece as (
    select e.evidence_id, e.example_id, e.origin, e.problem_id, e.attempt_id
    from example_evidence e
    where e.example_id in (select example_id from tainted)
),
seen as (
    select m.mix_id, p.* from piece p join v_mix_evidence m on m.evidence_id = p.evidence_id
),
weighed as (
    select s.*, t.verdict_id, t.verifier, t.was_version, t.was, t.now_version, t.now,
        count(*) filter (where t.evidence_id is null) over (partition by s.mix_id, s.example_id) as other_evidence
    from seen s left join tainted t on t.evidence_id = s.evidence_id
)
select
    w.mix_id, w.example_id, w.origin, w.problem_id, w.attempt_id, w.verdict_id, w.verifier, w.was_version, w.was,
    w.now_version, w.now, w.other_evidence, t.training_id, c.checkpoint_id, w.evidence_id, coalesce(p.promotions, 0) as promotions
from weighed w
left join training t on t.mix_id = w.mix_id
left join checkpoint c on c.training_id = t.training_id
left join (
    select a.ancestor_id, count(distinct d.promotion_id) as promotions
    from promotion d join v_checkpoint_ancestry a on a.checkpoint_id = d.checkpoint_id
    where d.state in ('done', 'noticed')
    group by a.ancestor_id
) p on p.ancestor_id = c.checkpoint_id
where w.verdict_id is not null;
