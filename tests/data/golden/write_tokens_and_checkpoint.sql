UPDATE "Ops".flow_checkpoints_v1 SET checkpoint_tokens = $1, checkpoint = $2 WHERE materialization = $3 AND key_begin = $4 AND key_end = $5 AND fence = $6
