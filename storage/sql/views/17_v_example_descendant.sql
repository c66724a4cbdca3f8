-- Every checkpoint that an example is in the history of, at its least distance: 0 for those trained on it, 1 for those that
-- started from such a one or were trained on what it wrote, and so on.
create or replace view v_example_descendant as
select u.example_id, n.checkpoint_id, min(n.depth) as depth
from v_example_use u
join v_checkpoint_ancestry n on n.ancestor_id = u.checkpoint_id
group by u.example_id, n.checkpoint_id;
