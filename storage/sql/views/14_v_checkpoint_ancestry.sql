-- Every ancestor of every checkpoint, itself included at depth 0, at its least distance, down to the base.
create or replace view v_checkpoint_ancestry as
with recursive
parent as materialized (
    select distinct checkpoint_id, parent_id from v_checkpoint_parent
),
walk (checkpoint_id, ancestor_id, depth) as (
    select checkpoint_id, checkpoint_id, 0 from checkpoint
    union
    select w.checkpoint_id, p.parent_id, w.depth + 1
    from walk w join parent p on p.checkpoint_id = w.ancestor_id
    where w.depth < 1000  -- no path is that long; weights that a training left as they were make a circle
)
select checkpoint_id, ancestor_id, min(depth) as depth from walk group by checkpoint_id, ancestor_id;
