-- Which evidence each training set had for its examples: the pieces that the step which made the mix had before it. The
-- same text is often written again by later checkpoints; that is evidence too, and none of this mix. A snapshot holds this
-- view's rows as a table (storage/snapshot.py), since finding them takes a second in a ledger of ten million attempts.
create or replace view v_mix_evidence as
with made as (
    select distinct o.step_id, m.id as mix_id
    from step_shard o
    join shard h on h.digest = o.digest and h.table_name = 'mix'
    join member m on m.digest = o.digest
    where o.direction = 'output'
),
seen as (
    select distinct made.mix_id, m.id as evidence_id
    from made
    join step_shard o on o.step_id = made.step_id
    join shard h on h.digest = o.digest and h.table_name = 'example_evidence'
    join member m on m.digest = o.digest
)
select s.mix_id, s.evidence_id
from seen s
join example_evidence e using (evidence_id)
where exists (select 1 from mix_member mm where mm.mix_id = s.mix_id and mm.example_id = e.example_id);
