-- What an example went into, one row a place: the training set, the training, the checkpoint.
create or replace view v_example_use as
select mm.example_id, mm.mix_id, mm.position, mm.role, t.training_id, c.checkpoint_id
from mix_member mm
left join training t using (mix_id)
left join checkpoint c using (training_id);
