-- Everything that was decided, in order: runs and steps, and what has no table of its own.
create or replace view v_event as
select seq, happened_at, kind, try_cast(payload->>'run_id' as uuid) as run_id, payload
from event;
