SELECT fence, key_begin, key_end, checkpoint, checkpoint_tokens FROM "Ops".flow_checkpoints_v1 WHERE materialization = $1 ORDER BY key_begin, key_end
