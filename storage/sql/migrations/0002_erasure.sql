-- What was taken out again. `erased`: shards that an event of kind `forgotten` (for good: the rows of a text that must not
-- be kept) or `collected` (rows that no kept run needed) removed, or replaced by a shard of their other rows.
-- `tombstone`: the ids of forgotten rows, and the digests by which tasks know a forgotten text again; never the text.

create table erased (
    digest uuid not null,
    table_name varchar not null,
    replaced_by uuid,
    kind varchar not null,
    event_seq bigint not null
);

create table tombstone (
    tombstone_id uuid not null,
    kind varchar not null
);
