INSERT INTO "Ops".flow_checkpoints_v1 (materialization, key_begin, key_end, fence, checkpoint, checkpoint_tokens) VALUES ($1, $2, $3, $4, $5, $6)
