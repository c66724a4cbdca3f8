-- A server may not tell how many tokens it read and wrote; then they are unknown, and not nothing.

alter table attempt alter column prompt_tokens drop not null;
alter table attempt alter column tokens drop not null;
