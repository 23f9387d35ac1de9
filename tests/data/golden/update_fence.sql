UPDATE "Ops".flow_checkpoints_v1 SET fence = $1 WHERE materialization = $2 AND key_begin = $3 AND key_end = $4
