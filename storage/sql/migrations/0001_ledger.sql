-- The ledger. Small tables (run, step, step_shard, shard, event) are made from the event files; the others are the
-- rows of the shards. Content tables have no key and no index, which would cost five times the space and time:
-- ingest never inserts an id twice, and `verify` checks that it did not. Long text is kept in zstd, a third smaller than
-- what DuckDB would choose. All times are UTC.

create table event (
    seq bigint not null,
    happened_at timestamp not null,
    kind varchar not null,
    payload json not null
);

create table run (
    run_id uuid not null,
    name varchar not null,
    method varchar not null,
    preset varchar,
    config json not null,
    parent_run_id uuid,
    prefect_flow_run_id varchar,
    state varchar not null,
    starts integer not null,
    started_at timestamp not null,
    finished_at timestamp,
    facts json not null
);

create table step (
    step_id uuid not null,
    run_id uuid not null,
    iteration integer not null,
    name varchar not null,
    cell varchar not null,
    cache_key varchar not null,
    key_parts json not null,
    hit boolean not null,
    prefect_task_run_id varchar,
    startup_s double not null,
    work_s double not null,
    asked bigint not null,
    ok bigint not null,
    rejected bigint not null,
    undecided bigint not null,
    failed bigint not null,
    facts json not null,
    committed_at timestamp not null,
    event_seq bigint not null
);

create table shard (
    digest uuid not null,
    table_name varchar not null,
    rows bigint not null
);

-- direction: input or output. position: the shard's place in its manifest.
create table step_shard (
    step_id uuid not null,
    direction varchar not null,
    role varchar not null,
    position integer not null,
    digest uuid not null
);

-- What each shard holds: its row number `row` is the row with this id. Rows of tables without an id of their own
-- (derivation, mix_member, evaluation_item) are found through the mix, evaluation or attempt that they belong to.
create table member (
    digest uuid not null,
    row integer not null,
    id uuid not null
);

create table problem (
    problem_id uuid not null,
    source varchar not null,
    split varchar not null,
    question varchar using compression zstd not null,
    gold varchar,
    rationale varchar using compression zstd,
    stratum varchar not null,
    weight double not null,
    info varchar not null,
    licence varchar not null,
    source_attempt_id uuid
);

create table prompt (
    prompt_id uuid not null,
    text varchar using compression zstd not null,
    template varchar not null,
    template_digest uuid not null,
    hinted boolean not null
);

create table attempt (
    attempt_id uuid not null,
    request_id uuid not null,
    problem_id uuid not null,
    prompt_id uuid not null,
    checkpoint_id uuid not null,
    engine varchar not null,
    sampling varchar not null,
    sample_index bigint not null,
    seed bigint not null,
    text varchar using compression zstd not null,
    finish_reason varchar not null,
    prompt_tokens bigint not null,
    tokens bigint not null,
    logprob double,
    error varchar
);

create table derivation (
    child_id uuid not null,
    parent_id uuid not null,
    role varchar not null
);

create table verdict (
    verdict_id uuid not null,
    attempt_id uuid not null,
    verifier varchar not null,
    verifier_digest uuid not null,
    aspect varchar not null,
    passed boolean,
    score double,
    answer varchar,
    reason varchar
);

create table example (
    example_id uuid not null,
    prompt varchar using compression zstd not null,
    completion varchar using compression zstd not null
);

create table example_evidence (
    example_id uuid not null,
    problem_id uuid not null,
    origin varchar not null,
    attempt_id uuid,
    verdict_id uuid,
    evidence_id uuid not null
);

create table mix (
    mix_id uuid not null,
    rows bigint not null,
    original_rows bigint not null,
    generated_rows bigint not null
);

create table mix_member (
    mix_id uuid not null,
    position bigint not null,
    example_id uuid not null,
    role varchar not null,
    pair bigint,
    weight double not null
);

create table training (
    training_id uuid not null,
    base_checkpoint_id uuid,
    mix_id uuid not null,
    recipe varchar not null,
    seed bigint not null,
    trainer_digest uuid not null,
    steps bigint not null,
    rows_seen bigint not null,
    tokens_seen bigint not null,
    tokens_trained bigint not null,
    final_loss double
);

create table checkpoint (
    checkpoint_id uuid not null,
    kind varchar not null,
    weights_digest uuid not null,
    files varchar not null,
    parent_id uuid,
    training_id uuid,
    source varchar
);

create table evaluation (
    evaluation_id uuid not null,
    checkpoint_id uuid not null,
    source varchar not null,
    split varchar not null,
    engine varchar not null,
    sampling varchar not null,
    verifier varchar not null,
    verifier_digest uuid not null,
    n bigint not null,
    passed bigint not null,
    undecided bigint not null,
    accuracy double,
    ci_low double,
    ci_high double
);

create table evaluation_item (
    evaluation_id uuid not null,
    problem_id uuid not null,
    attempt_id uuid not null,
    verdict_id uuid not null
);
