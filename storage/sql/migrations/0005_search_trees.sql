-- Search trees, a row a node. What a node says is in its attempts, so that nothing here has to be forgotten.

create table node (
    node_id uuid not null,
    tree_id uuid not null,
    problem_id uuid not null,
    checkpoint_id uuid not null,
    value_checkpoint_id uuid,
    parent_id uuid,
    attempt_id uuid,
    solution_id uuid,
    place bigint not null,
    depth bigint not null,
    kind varchar not null,
    value double not null,
    visits bigint not null,
    terminal boolean not null,
    closed varchar
);
