-- Who is called what in MLflow, and why: one row an event, never changed. `state`: intended, done, refused, abandoned, or
-- noticed (the alias stood elsewhere than the ledger said: moved by hand). `action`: promote, rollback or by hand. A version or checkpoint
-- that is null is nobody: before the first, or an alias that was taken away. `gates` is JSON, with the figures of each.

create table promotion (
    promotion_id uuid not null,
    event_seq bigint not null,
    happened_at timestamp not null,
    state varchar not null,
    action varchar not null,
    model_name varchar not null,
    alias varchar not null,
    destination varchar not null,
    checkpoint_id uuid,
    version bigint,
    previous_checkpoint_id uuid,
    previous_version bigint,
    run_id uuid,
    judged_in uuid,
    forced boolean not null,
    reason varchar,
    looks bigint,
    gates json not null
);
