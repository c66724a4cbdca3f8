-- Who holds each alias by the ledger: what the last move that was carried out or noticed says.
create or replace view v_alias as
select destination, model_name, alias, checkpoint_id, version, action, promotion_id, happened_at as since, event_seq
from promotion
where state in ('done', 'noticed')
qualify row_number() over (partition by destination, model_name, alias order by event_seq desc) = 1;
