UPDATE "Ops".flow_checkpoints_v1 SET checkpoint_tokens = $1 WHERE materialization = $2 AND key_begin = $3 AND key_end = $4 AND fence = $5
